#!/usr/bin/env bash
# Removes what deploy.sh deployed, and says what it leaves. Guarded buckets, their keys, trails and logs stay.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
usage: infra/destroy.sh --yes [--endpoint-url URL] [--dry-run]

Removes rules, alarms, functions, queues, topic and roles of the guardrail in this account and region.
From then on nothing restores the guarded buckets. Their settings stay as they are.
TEXT
}

fail() {
  echo "destroy.sh: $*" >&2
  exit 2
}

endpoint="" dry_run="" yes=""
while (($#)); do
  case $1 in
    --endpoint-url)
      (($# > 1)) || fail "$1 needs a value"
      endpoint=$2
      shift 2
      ;;
    --dry-run) dry_run=1 && shift ;;
    --yes) yes=1 && shift ;;
    --help) usage && exit ;;
    *) usage >&2 && fail "unknown option $1" ;;
  esac
done
[[ -n $yes || -n $dry_run ]] || { usage >&2 && fail "say --yes if that is what you want"; }
command -v aws > /dev/null || fail "needs the AWS CLI: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"

at=()
[[ -z $endpoint ]] || at=(--endpoint-url "$endpoint")
export AWS_PAGER=""
ask() { aws "${at[@]}" "$@" --output text; }
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
partition=$(ask sts get-caller-identity --query Arn | cut -d: -f2)
case $partition in
  aws) global=us-east-1 ;;
  aws-us-gov) global=us-gov-west-1 ;;
  aws-cn) global=cn-north-1 ;;
  *) global=$region ;;
esac
export AWS_REGION=$region AWS_DEFAULT_REGION=$region
echo "removing s3-guardrail from account $account, $region${dry_run:+ (dry run)}"
prefix=$(ask cloudformation describe-stacks --stack-name s3-guardrail-foundation \
  --query "Stacks[0].Parameters[?ParameterKey=='ParameterPrefix'].ParameterValue" 2> /dev/null || true)

exists() { ask lambda get-function-configuration --function-name "$1" --query FunctionName > /dev/null 2>&1; }
remove_stack() { # NAME REGION
  run aws "${at[@]}" --region "$2" cloudformation delete-stack --stack-name "$1"
  run aws "${at[@]}" --region "$2" cloudformation wait stack-delete-complete --stack-name "$1"
}

# First they must stop: they would put back the rules that are being removed.
for function in guardrail-remediate guardrail-sweep; do
  ! exists "$function" || run aws "${at[@]}" lambda put-function-concurrency --function-name "$function" \
    --reserved-concurrent-executions 0 --output text > /dev/null
done
[[ $region == "$global" ]] || remove_stack s3-guardrail-global "$global"
remove_stack s3-guardrail-wiring "$region"
for function in guardrail-remediate guardrail-sweep guardrail-bootstrap guardrail-verify; do
  ! exists "$function" || run aws "${at[@]}" lambda delete-function --function-name "$function"
done
remove_stack s3-guardrail-foundation "$region"

echo "Removed. What is left, because it is yours:"
echo "  the buckets, with their settings, keys, trails, logs and inventories"
left=""
[[ -z $prefix ]] || left=$(ask ssm get-parameters-by-path --path "${prefix%/}" --query 'Parameters[].Name' || true)
for parameter in $left; do [[ $parameter == None ]] || echo "  registry parameter $parameter"; done
echo "  the key behind alias/s3-guardrail, for 7 more days, in case somebody needs an old log"
