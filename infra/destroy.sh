#!/usr/bin/env bash
# Removes what deploy.sh deployed, also in part, and says what it leaves. Guarded buckets, their keys, trails and logs stay.
set -euo pipefail
cd "$(dirname "$0")/.."
. infra/lib.sh

usage() {
  cat <<'TEXT'
usage: infra/destroy.sh --yes [--endpoint-url URL] [--dry-run]

Removes rules, alarms, functions, queues, topics, ledger and roles of the guardrail in this account and region.
From then on nothing restores the guarded buckets. Their settings stay as they are.
TEXT
}

main() {
  local yes="" function found prefix path left parameter
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
  locate
  echo "removing s3-guardrail from account $account, $region${dry_run:+ (dry run)}"
  prefix=$(look_for cloudformation describe-stacks --stack-name s3-guardrail-foundation \
    --query "Stacks[0].Parameters[?ParameterKey=='ParameterPrefix'].ParameterValue")

  # First the functions: they would put back the rules that are being removed.
  for function in "${functions[@]}"; do
    found=$(look_for lambda get-function --function-name "$function" --query Configuration.FunctionName)
    [[ -z $found ]] || quietly aws lambda delete-function --function-name "$function"
  done
  [[ $region == "$global" ]] || remove_stack "$global_stack" "$global"
  remove_stack s3-guardrail-wiring "$region"
  # In a dry run they still are the stack's.
  found=$(state_of s3-guardrail-wiring "$region")
  [[ -n $found ]] || remove_rules
  remove_stack s3-guardrail-foundation "$region"

  [[ -n $dry_run ]] || echo "Removed."
  echo "What is left, because it is yours:"
  echo "  the buckets, with their settings, keys, trails, logs and inventories"
  prefix=${prefix:-/s3-guardrail/buckets/}
  for path in "${prefix%/}" /s3-guardrail/copies /s3-guardrail/teardown; do
    if left=$(ask ssm get-parameters-by-path --path "$path" --query 'Parameters[].Name'); then
      for parameter in $left; do [[ $parameter == None ]] || echo "  registry parameter $parameter"; done
    else
      echo "  registry parameters below $path, if there are any: they could not be read"
    fi
  done
  echo "  the index of the registry, parameters below /s3-guardrail/uses: it says nothing that the documents do not"
  echo "  a backup of the table s3-guardrail-ledger, for 35 days: DynamoDB makes it when the table is deleted"
  echo "  the key behind alias/s3-guardrail, for 7 more days, in case somebody needs an old log"
}

main "$@"
