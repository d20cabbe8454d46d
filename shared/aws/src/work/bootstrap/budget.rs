//! A budget that mails at the first cent. One for the account, however many buckets are guarded.

use aws_sdk_budgets::{
    Client,
    error::BuildError,
    types::{
        Budget, BudgetType, ComparisonOperator, Notification, NotificationType, NotificationWithSubscribers, Spend,
        Subscriber, SubscriptionType, ThresholdType, TimeUnit,
    },
};
use guardrail_core::{
    decide::setup::{Action, BootstrapError, Setup, failed},
    value::failure::ApiError,
};

use crate::api::{output, unless_absent};

/// The role may write the budget of this name only.
pub(super) const NAME: &str = "s3-guardrail-zero-spend";

/// Creates the budget, or adds the address to it.
pub(super) async fn ensure(budgets: &Client, setup: &Setup, address: &str) -> Result<Action, BootstrapError> {
    try_ensure(budgets, setup, address).await.map_err(failed(&format!("budget {NAME}")))
}

async fn try_ensure(budgets: &Client, setup: &Setup, address: &str) -> Result<Action, ApiError> {
    let account = setup.account.as_str();
    let invalid = |error: BuildError| ApiError::new("CreateBudget", error);
    let subscriber = Subscriber::builder().subscription_type(SubscriptionType::Email).address(address);
    let subscriber = subscriber.build().map_err(invalid)?;
    let notification = first_cent().map_err(invalid)?;
    let get = budgets.describe_subscribers_for_notification().account_id(account).budget_name(NAME);
    let sent = get.notification(notification.clone()).send().await;
    match unless_absent("DescribeSubscribersForNotification", sent, "NotFoundException")? {
        Some(known) if known.subscribers().iter().any(|it| it.address == address) => Ok(Action::Unchanged),
        known if setup.dry_run => Ok(if known.is_some() { Action::Adopted } else { Action::Created }),
        Some(_) => {
            let create = budgets.create_subscriber().account_id(account).budget_name(NAME);
            let sent = create.notification(notification).subscriber(subscriber).send().await;
            let created = unless_absent("CreateSubscriber", sent, "DuplicateRecordException")?;
            Ok(Action::on_existing(created.is_some()))
        }
        None => {
            let mail = NotificationWithSubscribers::builder().notification(notification).subscribers(subscriber);
            let create = budgets.create_budget().account_id(account).budget(budget().map_err(invalid)?);
            let sent = create.notifications_with_subscribers(mail.build().map_err(invalid)?).send().await;
            output("CreateBudget", sent)?;
            Ok(Action::Created)
        }
    }
}

/// AWS's own template of this kind: a budget cannot be zero, so what mails is the threshold.
fn budget() -> Result<Budget, BuildError> {
    let limit = Spend::builder().amount("1").unit("USD").build()?;
    let budget = Budget::builder().budget_name(NAME).budget_type(BudgetType::Cost).time_unit(TimeUnit::Monthly);
    budget.budget_limit(limit).build()
}

fn first_cent() -> Result<Notification, BuildError> {
    Notification::builder()
        .notification_type(NotificationType::Actual)
        .comparison_operator(ComparisonOperator::GreaterThan)
        .threshold(0.01)
        .threshold_type(ThresholdType::AbsoluteValue)
        .build()
}
