#!/usr/bin/env bash
# Deploys the guardrail into one region of one account: stack, functions, stack. Run it again at any time: it goes on
# from wherever it stopped, puts back what somebody changed, and changes nothing when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
usage: infra/deploy.sh [options]

  --email ADDRESS               who gets the alerts; SNS asks the address to confirm
  --parameter-prefix PATH       the registry's path in the Parameter Store (default /s3-guardrail/buckets/)
  --permissions-boundary ARN    a permissions boundary for every role
  --log-retention-days DAYS     how long logs are kept (default 365)
  --concurrency N               reserved for guardrail-remediate (default 5; the sweep takes 2 of it)
  --arm64                       build for arm64 instead of x86_64
  --binaries FOLDER             deploy FOLDER/FUNCTION/bootstrap.zip, already built, instead of building
  --endpoint-url URL            another AWS, such as the local one
  --dry-run                     print what would be run, change nothing
  --help

Account, region and credentials are those of the AWS CLI (AWS_PROFILE, AWS_REGION, ...).
TEXT
}

fail() {
  echo "deploy.sh: $*" >&2
  exit 2
}

email="" prefix=/s3-guardrail/buckets/ boundary="" retention=365 concurrency=5 arm64="" binaries="" endpoint="" dry_run=""
while (($#)); do
  case $1 in
    --email | --parameter-prefix | --permissions-boundary | --log-retention-days | --concurrency | --binaries | --endpoint-url)
      (($# > 1)) || fail "$1 needs a value"
      case $1 in
        --email) email=$2 ;;
        --parameter-prefix) prefix=$2 ;;
        --permissions-boundary) boundary=$2 ;;
        --log-retention-days) retention=$2 ;;
        --concurrency) concurrency=$2 ;;
        --binaries) binaries=$2 ;;
        --endpoint-url) endpoint=$2 ;;
      esac
      shift 2
      ;;
    --arm64) arm64=1 && shift ;;
    --dry-run) dry_run=1 && shift ;;
    --help) usage && exit ;;
    *) usage >&2 && fail "unknown option $1" ;;
  esac
done

# Everything that can be wrong is found out before anything is created.
[[ -z $email || $email =~ ^[^@[:space:]]+@[^@[:space:]]+$ ]] || fail "--email: \`$email\` is not an e-mail address"
[[ $prefix =~ ^/([A-Za-z0-9_.-]+/)+$ ]] || fail "--parameter-prefix: \`$prefix\` must begin and end with a slash"
[[ -z $boundary || $boundary =~ ^arn:[^:]+:iam::[^:]+:policy/.+$ ]] || fail "--permissions-boundary: \`$boundary\` is not a policy's ARN"
[[ " 30 60 90 120 180 365 400 545 731 1096 1827 3653 " == *" $retention "* ]] || fail "--log-retention-days: \`$retention\` is none that CloudWatch Logs knows: 30, 60, 90, 120, 180, 365, ..."
[[ $concurrency =~ ^([3-9]|[1-9][0-9]+)$ ]] || fail "--concurrency: \`$concurrency\` must be a number, at least 3"
[[ -z $endpoint || $endpoint =~ ^https?://[^/]+ ]] || fail "--endpoint-url: \`$endpoint\` is not a URL"

functions=(guardrail-remediate guardrail-sweep guardrail-bootstrap guardrail-verify)
command -v aws > /dev/null || fail "needs the AWS CLI: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
command -v cargo-lambda > /dev/null || fail "needs cargo-lambda: pip install cargo-lambda, or https://www.cargo-lambda.info/guide/installation.html"
command -v openssl > /dev/null || fail "needs openssl"
if [[ -n $binaries ]]; then
  for function in "${functions[@]}"; do
    [[ -f $binaries/$function/bootstrap.zip ]] || fail "--binaries: there is no $binaries/$function/bootstrap.zip"
  done
else
  command -v cargo > /dev/null || fail "needs Rust: https://rustup.rs"
fi

at=()
[[ -z $endpoint ]] || at=(--endpoint-url "$endpoint")
export AWS_PAGER=""

# Asks AWS; changes nothing.
ask() { aws "${at[@]}" "$@" --output text; }

# Does it, or says what would be done.
run() {
  if [[ -n $dry_run ]]; then
    printf '  would run:' && printf ' %q' "$@" && echo
  else
    "$@"
  fi
}

account=$(ask sts get-caller-identity --query Account) || fail "the AWS CLI has no valid credentials"
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[[ -n $region ]] || fail "no region: set AWS_REGION"
export AWS_REGION=$region AWS_DEFAULT_REGION=$region
partition=$(ask sts get-caller-identity --query Arn | cut -d: -f2)
# Where IAM's events are recorded.
case $partition in
  aws) global=us-east-1 ;;
  aws-us-gov) global=us-gov-west-1 ;;
  aws-cn) global=cn-north-1 ;;
  *) global=$region ;;
esac
echo "s3-guardrail -> account $account, $region${dry_run:+ (dry run)}"

stack() { # NAME TEMPLATE REGION [PARAMETER=VALUE ...]
  local name=$1 template=$2 where=$3
  shift 3
  local state
  state=$(ask --region "$where" cloudformation describe-stacks --stack-name "$name" --query 'Stacks[0].StackStatus' 2> /dev/null || true)
  if [[ $state == ROLLBACK_COMPLETE || $state == REVIEW_IN_PROGRESS ]]; then
    # What never came to be can only be removed.
    run aws "${at[@]}" --region "$where" cloudformation delete-stack --stack-name "$name"
    run aws "${at[@]}" --region "$where" cloudformation wait stack-delete-complete --stack-name "$name"
  fi
  local parameters=()
  (($# == 0)) || parameters=(--parameter-overrides "$@")
  run aws "${at[@]}" --region "$where" cloudformation deploy --stack-name "$name" --template-file "$template" \
    --capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset --tags application=s3-guardrail "${parameters[@]}"
}

output() {
  if [[ -n $dry_run ]] && ! ask cloudformation describe-stacks --stack-name s3-guardrail-foundation > /dev/null 2>&1; then
    echo "<$1>"
  else
    ask cloudformation describe-stacks --stack-name s3-guardrail-foundation --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"
  fi
}

echo "1/5 what the functions need"
stack s3-guardrail-foundation infra/foundation.yaml "$region" ParameterPrefix="$prefix" AlertEmail="$email" \
  PermissionsBoundaryArn="$boundary" LogRetentionDays="$retention"
topic=$(output TopicArn) remediate_role=$(output RemediateRoleArn) queue=$(output WorkQueueUrl)
[[ -n $topic && -n $remediate_role && -n $queue ]] || fail "the stack s3-guardrail-foundation has no outputs; look at it in CloudFormation"

echo "2/5 the functions"
if [[ -z $binaries ]]; then
  packages=()
  for function in "${functions[@]}"; do packages+=(--package "$function"); done
  run cargo lambda build --release --locked --output-format zip ${arm64:+--arm64} "${packages[@]}"
  binaries=target/lambda
fi

role_of() {
  case $1 in
    guardrail-remediate) echo "$remediate_role" ;;
    guardrail-sweep) output SweepRoleArn ;;
    guardrail-bootstrap) output BootstrapRoleArn ;;
    guardrail-verify) output VerifyRoleArn ;;
  esac
}

# A number that `cargo lambda deploy` reads in the function's Cargo.toml.
metadata() { sed -n "s/^$2 = \([0-9]*\)$/\1/p" "functions/${1#guardrail-}/Cargo.toml"; }

# What is deployed, as far as it can be changed, in one line.
deployed() {
  local of='Environment.Variables'
  ask lambda get-function-configuration --function-name "$1" --query "[Role, MemorySize, Timeout, Architectures[0], CodeSha256,
    $of.GUARDRAIL_TOPIC_ARN, $of.GUARDRAIL_ROLE_ARN, $of.GUARDRAIL_PARAMETER_PREFIX, $of.GUARDRAIL_QUEUE_URL, $of.GUARDRAIL_HTTP_ENDPOINT_URL, length(keys($of))]" \
    2> /dev/null || true
}

for function in "${functions[@]}"; do
  role=$(role_of "$function") zip=$binaries/$function/bootstrap.zip
  variables=("GUARDRAIL_TOPIC_ARN=$topic" "GUARDRAIL_ROLE_ARN=$remediate_role" "GUARDRAIL_PARAMETER_PREFIX=$prefix")
  its_queue=None its_http=None
  if [[ $function == guardrail-sweep ]]; then
    variables+=("GUARDRAIL_QUEUE_URL=$queue")
    its_queue=$queue
  fi
  # On another AWS, nobody could guess where it answers without TLS, to be refused there.
  if [[ $function == guardrail-verify && $endpoint == http://* ]]; then
    variables+=("GUARDRAIL_HTTP_ENDPOINT_URL=$endpoint")
    its_http=$endpoint
  fi
  digest=""
  [[ ! -f $zip ]] || digest=$(openssl dgst -sha256 -binary "$zip" | openssl base64 -A)
  architecture=x86_64
  [[ -z $arm64 ]] || architecture=arm64
  wanted=$(printf '%s\t' "$role" "$(metadata "$function" memory)" "$(metadata "$function" timeout)" "$architecture" \
    "$digest" "$topic" "$remediate_role" "$prefix" "$its_queue" "$its_http" && echo "${#variables[@]}")
  if [[ $(deployed "$function") == "$wanted" ]]; then
    echo "  $function: unchanged"
    continue
  fi
  settings=()
  for variable in "${variables[@]}"; do settings+=(--env-var "$variable"); done
  attempt=1
  # A role that was just created takes some seconds to be one that Lambda may use.
  until run cargo-lambda lambda deploy "$function" "${at[@]}" ${arm64:+--arm64} --iam-role "$role" --lambda-dir "$binaries" \
    --tag application=s3-guardrail "${settings[@]}" > /dev/null; do
    ((attempt++ < 4)) || fail "$function could not be deployed; mend what is said above and run this again, it goes on from there"
    sleep 5
  done
  echo "  $function: deployed"
done
reserved=$(ask lambda get-function-concurrency --function-name guardrail-remediate --query ReservedConcurrentExecutions 2> /dev/null || true)
if [[ $reserved != "$concurrency" ]]; then
  run aws "${at[@]}" lambda put-function-concurrency --function-name guardrail-remediate \
    --reserved-concurrent-executions "$concurrency" --output text > /dev/null
fi

echo "3/5 what calls and what watches them"
stack s3-guardrail-wiring infra/wiring.yaml "$region" ParameterPrefix="$prefix"

echo "4/5 events of IAM"
if [[ $region == "$global" ]]; then
  echo "  are recorded in this region"
else
  stack s3-guardrail-global infra/global.yaml "$global" HomeRegion="$region"
fi

echo "5/5 smoke test"
if [[ -n $dry_run ]]; then
  echo "  would invoke guardrail-sweep"
  exit
fi
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
error=$(ask lambda invoke --function-name guardrail-sweep --query FunctionError "$answer") || fail "guardrail-sweep could not be invoked"
[[ $error == None ]] || fail "guardrail-sweep failed: $(cat "$answer")"
echo "  guardrail-sweep answers: $(cat "$answer")"
if grep -q '"guardrail"' "$answer"; then
  echo "  Not all is in place yet: see the findings above, and RUNBOOK.md, \"BROKEN\"."
  echo "  Without a guarded bucket there may be no trail, and without a confirmed subscription nobody is told."
else
  echo "  Rules, permissions, trail and topic are as they should be."
fi
echo "Guard a bucket: aws lambda invoke --function-name guardrail-bootstrap --cli-binary-format raw-in-base64-out --payload '{\"bucket\":\"NAME\"}' /dev/stdout"
