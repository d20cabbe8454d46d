# What deploy.sh and destroy.sh share. Nothing in the three is newer than bash 3.2, which is what macOS has.
# shellcheck shell=bash disable=SC2034

# What `--output text` puts between two values.
tab=$'\t'
functions=(guardrail-remediate guardrail-sweep guardrail-bootstrap guardrail-verify)
endpoint="" dry_run=""
export AWS_PAGER=""

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

aws() {
  command aws ${endpoint:+--endpoint-url "$endpoint"} "$@"
}

# Asks AWS; changes nothing.
ask() {
  aws "$@" --output text
}

# The same, and empty when there is no such thing. Anything else that goes wrong is no answer, and ends the script, if it is
# called in an assignment: elsewhere bash goes on.
look_for() {
  local answer
  if answer=$(ask "$@" 2>&1); then
    echo "$answer"
  else
    case $answer in
      *"does not exist"* | *NotFound* | *NoSuchEntity* | *NonExistentQueue*) ;;
      *) fail "${answer#$'\n'}" ;;
    esac
  fi
}

# Does it, or says what would be done.
run() {
  if [[ -z $dry_run ]]; then
    "$@"
    return
  fi
  local command=$1
  shift
  [[ $command != aws ]] || set -- ${endpoint:+--endpoint-url "$endpoint"} "$@"
  printf '  would run: %s' "$command" && printf ' %q' "$@" && echo
}

# The same, without what it prints when it goes well.
quietly() {
  if [[ -n $dry_run ]]; then
    run "$@"
  else
    "$@" > /dev/null
  fi
}

# Where we are, and in which region IAM's events are recorded.
locate() {
  local caller
  # Not the function above.
  type -P aws > /dev/null ||
    fail "needs the AWS CLI: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
  caller=$(ask sts get-caller-identity --query '[Account, Arn]') || fail "the AWS CLI has no valid credentials"
  account=${caller%%"$tab"*}
  partition=$(echo "$caller" | cut -d: -f2)
  region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
  [[ -n $region ]] || fail "no region: set AWS_REGION"
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region
  case $partition in
    aws) global=us-east-1 ;;
    aws-us-gov) global=us-gov-west-1 ;;
    aws-cn) global=cn-north-1 ;;
    *) global=$region ;;
  esac
  # One for each region that has a guardrail.
  global_stack=s3-guardrail-global-$region
}

state_of() { # STACK REGION
  look_for --region "$2" cloudformation describe-stacks --stack-name "$1" --query 'Stacks[0].StackStatus'
}

# What CloudFormation says went wrong last.
reasons() { # STACK REGION
  ask --region "$2" cloudformation describe-stack-events --stack-name "$1" --max-items 40 \
    --query "StackEvents[?ends_with(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]" 2>&1 |
    grep -v '^None$' | sed 's/^/    /' || true
}

# What is protected against deletion cannot be deleted with its stack.
unprotect_ledger() {
  local protected
  protected=$(look_for dynamodb describe-table --table-name s3-guardrail-ledger --query Table.DeletionProtectionEnabled)
  [[ $protected == True ]] || return 0
  echo "  the table s3-guardrail-ledger is no longer protected against deletion, and is deleted"
  quietly aws dynamodb update-table --table-name s3-guardrail-ledger --no-deletion-protection-enabled
  run aws dynamodb wait table-exists --table-name s3-guardrail-ledger
}

remove_stack() { # STACK REGION
  local state
  state=$(state_of "$1" "$2")
  [[ -n $state ]] || return 0
  [[ $1 != s3-guardrail-foundation ]] || unprotect_ledger
  run aws --region "$2" cloudformation delete-stack --stack-name "$1"
  run aws --region "$2" cloudformation wait stack-delete-complete --stack-name "$1" || fail "$1 could not be deleted:
$(reasons "$1" "$2")
  Mend that and run this again. What cannot be mended can be left behind:
  aws --region $2 cloudformation delete-stack --stack-name $1 --deletion-mode FORCE_DELETE_STACK"
}

# The rules of a guardrail here that no stack owns: while a stack is deleted, the guardrail may have put them back. A rule
# that sends IAM's events to another region's guardrail is that one's.
remove_rules() {
  local rules rule targets
  rules=$(ask events list-rules --name-prefix s3-guardrail- \
    --query "Rules[?!starts_with(Name, 's3-guardrail-roles-')].Name")
  for rule in $rules; do
    [[ $rule != None ]] || continue
    echo "  removing the rule $rule, which belongs to no stack"
    targets=$(ask events list-targets-by-rule --rule "$rule" --query 'Targets[].Id')
    # shellcheck disable=SC2086 # One word for each target.
    [[ -z $targets || $targets == None ]] || quietly aws events remove-targets --rule "$rule" --ids $targets
    run aws events delete-rule --name "$rule"
  done
}
