#!/usr/bin/env bash
# Deploys the guardrail into one region of one account: stack, functions, stack. Run it again at any time: it goes on
# from wherever it stopped, keeps what earlier runs were told, puts back what somebody changed and says so, and changes
# nothing when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. infra/lib.sh

usage() {
  cat <<'TEXT'
usage: infra/deploy.sh [options]

What is not given stays as it is deployed.

  --email ADDRESS               who gets the alerts; SNS asks the address to confirm, twice; `none` for nobody
  --parameter-prefix PATH       the registry's path in the Parameter Store (default /s3-guardrail/buckets/)
  --change-parameter-prefix     let --parameter-prefix differ from what is deployed: all buckets must be registered anew
  --permissions-boundary ARN    a permissions boundary for every role; `none` for none
  --log-retention-days DAYS     how long logs are kept (default 365)
  --arm64                       build for arm64
  --x86-64                      build for x86_64 (default)
  --binaries FOLDER             deploy FOLDER/FUNCTION/bootstrap.zip, already built, instead of building
  --endpoint-url URL            another AWS, such as the local one
  --dry-run                     print what would be run, change nothing
  --help

Account, region and credentials are those of the AWS CLI (AWS_PROFILE, AWS_REGION, ...).
TEXT
}

email="" prefix="" change_prefix="" boundary="" retention="" architecture="" binaries=""
# What could not be put back.
left=""

read_options() {
  while (($#)); do
    case $1 in
      --email | --parameter-prefix | --permissions-boundary | --log-retention-days | --binaries | --endpoint-url)
        (($# > 1)) || fail "$1 needs a value"
        [[ -n $2 ]] || fail "$1: the value is empty"
        case $1 in
          --email) email=$2 ;;
          --parameter-prefix) prefix=$2 ;;
          --permissions-boundary) boundary=$2 ;;
          --log-retention-days) retention=$2 ;;
          --binaries) binaries=$2 ;;
          --endpoint-url) endpoint=$2 ;;
        esac
        shift 2
        ;;
      --change-parameter-prefix) change_prefix=1 && shift ;;
      --arm64) architecture=arm64 && shift ;;
      --x86-64) architecture=x86_64 && shift ;;
      --dry-run) dry_run=1 && shift ;;
      --help) usage && exit ;;
      *) usage >&2 && fail "unknown option $1" ;;
    esac
  done
  [[ -z $email || $email == none || $email =~ ^[^@[:space:]]+@[^@[:space:]]+$ ]] || fail "--email: \`$email\` is not an e-mail address"
  [[ -z $prefix || $prefix =~ ^/([A-Za-z0-9_.-]+/)+$ ]] || fail "--parameter-prefix: \`$prefix\` must begin and end with a slash"
  ((${#prefix} <= 80)) || fail "--parameter-prefix: \`$prefix\` is longer than 80 characters"
  [[ -z $boundary || $boundary == none || $boundary =~ ^arn:[^:]+:iam::[^:]+:policy/.+$ ]] || fail "--permissions-boundary: \`$boundary\` is not a policy's ARN"
  [[ -z $retention || " 30 60 90 120 180 365 400 545 731 1096 1827 3653 " == *" $retention "* ]] || fail "--log-retention-days: \`$retention\` is none that CloudWatch Logs knows: 30, 60, 90, 120, 180, 365, ..."
  [[ -z $endpoint || $endpoint =~ ^https?://[^/]+ ]] || fail "--endpoint-url: \`$endpoint\` is not a URL"
}

check_tools() {
  local function
  command -v cargo-lambda > /dev/null || fail "needs cargo-lambda: pip install cargo-lambda, or https://www.cargo-lambda.info/guide/installation.html"
  command -v openssl > /dev/null || fail "needs openssl"
  if [[ -n $binaries ]]; then
    for function in "${functions[@]}"; do
      [[ -f $binaries/$function/bootstrap.zip ]] || fail "--binaries: there is no $binaries/$function/bootstrap.zip"
    done
  else
    command -v cargo > /dev/null || fail "needs Rust: https://rustup.rs"
  fi
  # The CLI itself answers this, from what it knows.
  reverts_drift=1
  aws cloudformation create-change-set --stack-name x --change-set-name x --deployment-mode REVERT_DRIFT \
    --generate-cli-skeleton > /dev/null 2>&1 || reverts_drift=""
  [[ -n $reverts_drift ]] || echo "This AWS CLI ($(aws --version 2>&1 | cut -d' ' -f1)) is older than 2.31.38 and cannot have drift of stacks reverted: it will be named, not put back."
}

# Brings a stack into a state in which it can be deployed, or says what must be done first.
make_ready() { # STACK REGION
  local state waited=0
  state=$(state_of "$1" "$2")
  while [[ $state == *_IN_PROGRESS && $state != REVIEW_IN_PROGRESS && -z $dry_run ]]; do
    ((waited)) || echo "  $1 is $state: an earlier run or somebody else is at it; waiting for a minute"
    ((waited < 60)) || fail "$1 is still $state; nothing was changed. When that has ended, run this again; watch it with
  aws --region $2 cloudformation describe-stack-events --stack-name $1"
    sleep 5
    waited=$((waited + 5))
    state=$(state_of "$1" "$2")
  done
  case $state in
    CREATE_FAILED | DELETE_FAILED | REVIEW_IN_PROGRESS | ROLLBACK_COMPLETE | ROLLBACK_FAILED)
      echo "  $1 is $state, from an earlier attempt: it is removed and made again"
      remove_stack "$1" "$2"
      ;;
    UPDATE_ROLLBACK_FAILED)
      echo "  $1 is $state: its rollback is continued"
      run aws --region "$2" cloudformation continue-update-rollback --stack-name "$1"
      run aws --region "$2" cloudformation wait stack-rollback-complete --stack-name "$1" || fail "the rollback of $1 failed again:
$(reasons "$1" "$2")
  Mend that and run this again. What cannot be mended can be skipped:
  aws --region $2 cloudformation continue-update-rollback --stack-name $1 --resources-to-skip LOGICAL_ID"
      ;;
    *_IN_PROGRESS) echo "  $1 is $state: an earlier run or somebody else is at it" ;;
  esac
}

# A parameter of the deployed foundation, nothing if there is none.
parameter() {
  awk -F '\t' -v name="$1" '$1 == name { print $2 }' <<< "$parameters"
}

# What names of ours are taken although no stack has them, and holds data or rights. Everything else is removed.
check_leftovers() {
  local found
  echo "  looking for leftovers of an earlier attempt"
  found=$(
    ask sns list-topics --query "Topics[?ends_with(TopicArn, ':s3-guardrail-alerts') || ends_with(TopicArn, ':s3-guardrail-broken')].[
      'aws sns delete-topic --topic-arn', TopicArn]"
    ask sqs list-queues --queue-name-prefix s3-guardrail- --query "QueueUrls[].['aws sqs delete-queue --queue-url', @]"
    ask dynamodb list-tables --query "TableNames[?@=='s3-guardrail-ledger'].[
      ['aws dynamodb update-table --no-deletion-protection-enabled --table-name', @], ['aws dynamodb delete-table --table-name', @]][]"
    ask logs describe-log-groups --log-group-name-prefix /aws/lambda/guardrail- \
      --query "logGroups[].['aws logs delete-log-group --log-group-name', logGroupName]"
    ask kms list-aliases --query "Aliases[?AliasName=='alias/s3-guardrail'].['aws kms delete-alias --alias-name', AliasName]"
    ask iam list-roles --query "Roles[?starts_with(RoleName, 's3-guardrail-') && ends_with(RoleName, '-$region')].['aws iam delete-role --role-name', RoleName]"
  )
  found=$(tr '\t' ' ' <<< "$found" | sed '/^None$/d; /^ *$/d; s/^/  /')
  [[ -z $found ]] || fail "these are left from an earlier attempt, and the stack s3-guardrail-foundation that they belong to does not exist.
Look whether you still need what is in them, then remove them and run this again (a role's policies go first):
$found"
}

remove_leftovers() {
  local mapping mappings
  remove_rules
  mappings=$(look_for lambda list-event-source-mappings --function-name guardrail-remediate --query 'EventSourceMappings[].UUID')
  for mapping in $mappings; do
    [[ $mapping != None ]] || continue
    echo "  removing the event source mapping $mapping, which belongs to no stack"
    quietly aws lambda delete-event-source-mapping --uuid "$mapping"
  done
}

# Everything that can be wrong is found out before anything is created.
check_account() {
  local deployed found
  if [[ $boundary == arn:* ]]; then
    found=$(look_for iam get-policy --policy-arn "$boundary" --query Policy.Arn)
    [[ -n $found ]] || fail "--permissions-boundary: $boundary does not exist"
  fi
  make_ready s3-guardrail-foundation "$region"
  make_ready s3-guardrail-wiring "$region"
  [[ $region == "$global" ]] || make_ready "$global_stack" "$global"

  parameters=$(look_for cloudformation describe-stacks --stack-name s3-guardrail-foundation \
    --query 'Stacks[0].Parameters[].[ParameterKey, ParameterValue]')
  deployed=$(parameter ParameterPrefix)
  if [[ -n $deployed && -n $prefix && $prefix != "$deployed" && -z $change_prefix ]]; then
    fail "--parameter-prefix: the buckets are registered below $deployed, and none of them would be guarded any more.
If that is what you want, say --change-parameter-prefix, too, and copy each parameter below $deployed to $prefix."
  fi
  prefix=${prefix:-${deployed:-/s3-guardrail/buckets/}}
  boundary=${boundary:-$(parameter PermissionsBoundaryArn)}
  [[ -n $parameters ]] || check_leftovers

  # What earlier runs were told, as far as it stands at the function: what it was built for.
  found=$(look_for lambda get-function --function-name guardrail-remediate \
    --query '[Concurrency.ReservedConcurrentExecutions, Configuration.Architectures[0]]')
  read -r concurrency architecture_deployed <<< "${found:-None None}"
  [[ $architecture_deployed == None ]] || architecture=${architecture:-$architecture_deployed}
  architecture=${architecture:-x86_64}
  found=$(state_of s3-guardrail-wiring "$region")
  [[ -n $found ]] || remove_leftovers
}

# A stack's resources as its template has them: what was deleted is made again, what was changed is written again.
revert_drift() { # STACK REGION
  local keys key name status changes type logical how physical attempt=1 given=()
  # Both stacks that may be here have parameters.
  keys=$(look_for --region "$2" cloudformation describe-stacks --stack-name "$1" --query 'Stacks[0].Parameters[].ParameterKey')
  [[ -n $keys ]] || return 0
  if [[ -z $reverts_drift ]]; then
    name_drift "$1" "$2"
    return
  fi
  for key in $keys; do given+=("ParameterKey=$key,UsePreviousValue=true"); done
  while :; do
    name=revert-drift-$(date +%s)-$attempt
    quietly aws --region "$2" cloudformation create-change-set --stack-name "$1" --change-set-name "$name" \
      --use-previous-template --deployment-mode REVERT_DRIFT --capabilities CAPABILITY_NAMED_IAM --parameters "${given[@]}"
    if [[ -n $dry_run ]]; then
      run aws --region "$2" cloudformation execute-change-set --stack-name "$1" --change-set-name "$name"
      run aws --region "$2" cloudformation wait stack-update-complete --stack-name "$1"
      return
    fi
    status=CREATE_PENDING
    while [[ $status == *_PENDING* || $status == *_IN_PROGRESS* ]]; do
      # The status, then a line for each resource that is not as it was deployed.
      changes=$(ask --region "$2" cloudformation describe-change-set --stack-name "$1" --change-set-name "$name" --query "[
        [[Status, StatusReason]], Changes[].ResourceChange | [?Action!='SyncWithActual' && ResourceDriftStatus!='IN_SYNC'
        && ResourceDriftStatus!='NOT_CHECKED'].[ResourceType, LogicalResourceId, ResourceDriftStatus || Action, PhysicalResourceId]][]")
      status=${changes%%$'\n'*}
      [[ $status == *_COMPLETE* || $status == FAILED* ]] || sleep 2
    done
    changes=$(sed 1d <<< "$changes")
    if [[ -z $changes ]]; then
      aws --region "$2" cloudformation delete-change-set --stack-name "$1" --change-set-name "$name"
      # With nothing to change it is a failure to CloudFormation.
      [[ $status != FAILED* || $status == *"didn't contain changes"* || $status == *"No updates are to be performed"* ]] ||
        fail "$1 could not be compared with what is there: $status"
      return
    fi
    aws --region "$2" cloudformation execute-change-set --stack-name "$1" --change-set-name "$name"
    if aws --region "$2" cloudformation wait stack-update-complete --stack-name "$1" 2> /dev/null; then
      while read -r type logical how physical; do
        echo "  put back: $type $logical${physical:+, $physical}: was $(tr '[:upper:]' '[:lower:]' <<< "$how")"
      done <<< "$changes"
      return
    fi
    # The guardrail may itself have put back a rule meanwhile, so it is compared anew.
    ((attempt++ < 3)) || fail "$1 could not be put back to what its template says:
$(reasons "$1" "$2")
  Mend that and run this again."
    make_ready "$1" "$2"
  done
}

# All that an older AWS CLI can have done about drift.
name_drift() { # STACK REGION
  local detection state differing type logical how
  if [[ -n $dry_run ]]; then
    run aws --region "$2" cloudformation detect-stack-drift --stack-name "$1"
    return
  fi
  detection=$(ask --region "$2" cloudformation detect-stack-drift --stack-name "$1" --query StackDriftDetectionId)
  state=DETECTION_IN_PROGRESS
  while [[ $state == DETECTION_IN_PROGRESS ]]; do
    sleep 2
    state=$(ask --region "$2" cloudformation describe-stack-drift-detection-status --stack-drift-detection-id "$detection" --query DetectionStatus)
  done
  differing=$(ask --region "$2" cloudformation describe-stack-resource-drifts --stack-name "$1" --stack-resource-drift-status-filters MODIFIED DELETED \
    --query 'StackResourceDrifts[].[ResourceType, LogicalResourceId, StackResourceDriftStatus]')
  [[ -n $differing && $differing != None ]] || return 0
  left=1
  while read -r type logical how; do
    echo "  not put back: $type $logical: is $(tr '[:upper:]' '[:lower:]' <<< "$how")"
  done <<< "$differing"
}

deploy_stack() { # STACK TEMPLATE REGION [PARAMETER=VALUE ...]
  local name=$1 template=$2 where=$3
  shift 3
  revert_drift "$name" "$where"
  run aws --region "$where" cloudformation deploy --stack-name "$name" --template-file "$template" \
    --capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset --tags application=s3-guardrail \
    ${1+--parameter-overrides "$@"} || fail "$name could not be deployed:
$(reasons "$name" "$where")
  Mend that and run this again; it goes on from there."
}

# An output of the foundation. In a dry run it need not exist yet.
output() {
  local value
  value=$(awk -F '\t' -v name="$1" '$1 == name { print $2 }' <<< "$outputs")
  [[ -n $value || -z $dry_run ]] || value="<$1>"
  [[ -n $value ]] || fail "the stack s3-guardrail-foundation has no output $1; look at it in CloudFormation"
  echo "$value"
}

deploy_foundation() {
  local given=(ParameterPrefix="$prefix")
  [[ -z $email ]] || given+=(AlertEmail="${email#none}")
  [[ -z $boundary ]] || given+=(PermissionsBoundaryArn="${boundary#none}")
  [[ -z $retention ]] || given+=(LogRetentionDays="$retention")
  restore_key
  deploy_stack s3-guardrail-foundation infra/foundation.yaml "$region" "${given[@]}"
  outputs=$(look_for cloudformation describe-stacks --stack-name s3-guardrail-foundation --query 'Stacks[0].Outputs[].[OutputKey, OutputValue]')
  topic=$(output TopicArn) second_topic=$(output SecondTopicArn) queue=$(output WorkQueueUrl)
  restore_roles
  restore_second_topic
  restore_policies
}

# A key that waits for its deletion cannot be updated by CloudFormation.
restore_key() {
  local key state
  key=$(look_for cloudformation describe-stack-resource --stack-name s3-guardrail-foundation --logical-resource-id Key \
    --query StackResourceDetail.PhysicalResourceId)
  [[ -n $key ]] || return 0
  state=$(look_for kms describe-key --key-id "$key" --query KeyMetadata.KeyState)
  case $state in
    Enabled | "") return ;;
    PendingDeletion) quietly aws kms cancel-key-deletion --key-id "$key" ;;
  esac
  run aws kms enable-key --key-id "$key"
  echo "  put back: the key of alerts and logs was $state"
}

# What the templates do not name, and CloudFormation therefore does not look at.
restore_roles() {
  local arns arn role policies policy wanted found
  wanted=${boundary:-none}
  arns=$(awk -F '\t' '$1 ~ /RoleArn$/ { print $2 }' <<< "$outputs")
  for arn in $arns; do
    role=${arn##*/}
    policies=$(ask iam list-attached-role-policies --role-name "$role" --query 'AttachedPolicies[].PolicyArn')
    for policy in $policies; do
      [[ $policy != None ]] || continue
      run aws iam detach-role-policy --role-name "$role" --policy-arn "$policy"
      echo "  put back: the role $role had the policy $policy attached"
    done
    found=$(ask iam get-role --role-name "$role" --query 'Role.PermissionsBoundary.PermissionsBoundaryArn')
    [[ $found != None ]] || found=none
    [[ $found != "$wanted" ]] || continue
    if [[ $wanted == none ]]; then
      run aws iam delete-role-permissions-boundary --role-name "$role"
    else
      run aws iam put-role-permissions-boundary --role-name "$role" --permissions-boundary "$wanted"
    fi
    echo "  put back: the role $role had the permissions boundary $found"
  done
}

# The second topic has no key that could be broken. That the template names none is nothing to CloudFormation.
restore_second_topic() {
  local key
  # In a dry run before the stack has it.
  [[ $second_topic == arn:* ]] || return 0
  key=$(look_for sns get-topic-attributes --topic-arn "$second_topic" --query Attributes.KmsMasterKeyId)
  [[ -n $key && $key != None ]] || return 0
  run aws sns set-topic-attributes --topic-arn "$second_topic" --attribute-name KmsMasterKeyId --attribute-value ""
  echo "  put back: the topic s3-guardrail-broken was encrypted with $key"
}

# The policies of topics, queues and table as the template has them, one a line: of which resource, then the document.
# CloudFormation can write these and not read them, so drift of theirs is not seen.
wanted_policies() {
  aws cloudformation package --template-file infra/foundation.yaml --s3-bucket none --use-json | awk '
    /^        "[A-Za-z0-9]+": [{]/ { wanted = 0; of = ""; document = ""; split($0, part, "\""); name = part[2] }
    /^            "Type": "AWS::(SNS::Topic|SQS::Queue)Policy"/ { wanted = 1 }
    /^            "Type": "AWS::DynamoDB::Table"/ { wanted = 1; of = name }
    wanted && document == "" && of == "" && /^ +"Ref": / { split($0, part, "\""); of = part[4] }
    wanted && /^ +"PolicyDocument": [{]/ { document = "{"; match($0, /[^ ]/); indent = RSTART; next }
    document != "" { line = $0; sub(/^ +/, "", line); gsub(/": /, "\":", line); document = document line; match($0, /[^ ]/) }
    document != "" && RSTART == indent { sub(/,$/, "", document); print of "\t" document; document = "" }'
}

# Policies as CloudFormation resolves them. Resources are one a line: logical id, then ARN, or URL of a queue.
resolved() { # RESOURCES
  local logical arn script=""
  while read -r logical arn; do
    [[ $arn == arn:* ]] || arn=arn:$partition:sqs:$region:$account:${arn##*/}
    script="$script
      s|[{]\"Ref\":\"$logical\"[}]|\"$arn\"|g
      s|[{]\"Fn::GetAtt\":\\[\"$logical\",\"Arn\"\\][}]|\"$arn\"|g"
  done <<< "$1"
  sed -e "$script" -e 's|[{]"Fn::Sub":\("[^"]*"\)[}]|\1|g' -e "s|\${AWS::Partition}|$partition|g" \
    -e "s|\${AWS::Region}|$region|g" -e "s|\${AWS::AccountId}|$account|g"
}

# What a policy says, one statement a line, whatever the order and the spelling of its lists.
meaning() {
  awk '
    function leaf(value, i, path) {
      for (i = 3; i <= depth; i++) path = path "." key[i]
      sub(/\.Principal\.AWS$/, ".Principal", path)
      if (statement) print statement "\t" tolower(path "=" value)
    }
    { text = text $0 }
    END {
      for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (quoted) {
          if (c == "\\") { word = word c substr(text, ++i, 1) }
          else if (c != "\"") word = word c
          else {
            quoted = 0
            if (substr(text, i + 1) ~ /^ *:/) key[depth] = word
            else leaf(word)
          }
        }
        else if (c == "\"") { quoted = 1; word = "" }
        else if (c == "{" || c == "[") { key[++depth] = ""; if (depth == 3 && c == "{") statement++ }
        else if (c == "}" || c == "]") depth--
      }
    }' | sort | awk -F '\t' '$1 != n { if (n) print all; all = ""; n = $1 } { all = all " " $2 } END { print all }' | sort
}

restore_policies() {
  local names policies logical wanted found resource escaped
  [[ -n $outputs ]] || return 0
  names=$(ask cloudformation describe-stack-resources --stack-name s3-guardrail-foundation \
    --query "StackResources[?contains(['AWS::SNS::Topic', 'AWS::SQS::Queue', 'AWS::DynamoDB::Table'], ResourceType)].[LogicalResourceId, PhysicalResourceId]" |
    sed "s|${tab}s3-guardrail-ledger\$|${tab}arn:$partition:dynamodb:$region:$account:table/s3-guardrail-ledger|")
  policies=$(wanted_policies | resolved "$names")
  while IFS=$tab read -r logical wanted; do
    resource=$(awk -F '\t' -v name="$logical" '$1 == name { print $2 }' <<< "$names")
    case $resource in
      arn:*:sns:*) found=$(ask sns get-topic-attributes --topic-arn "$resource" --query Attributes.Policy) ;;
      arn:*:dynamodb:*) found=$(look_for dynamodb get-resource-policy --resource-arn "$resource" --query Policy) ;;
      # In a dry run before the stack has it.
      "") continue ;;
      *) found=$(ask sqs get-queue-attributes --queue-url "$resource" --attribute-names Policy --query Attributes.Policy) ;;
    esac
    [[ $(meaning <<< "$found") != $(meaning <<< "$wanted") ]] || continue
    case $resource in
      arn:*:sns:*) run aws sns set-topic-attributes --topic-arn "$resource" --attribute-name Policy --attribute-value "$wanted" ;;
      arn:*:dynamodb:*) quietly aws dynamodb put-resource-policy --resource-arn "$resource" --policy "$wanted" ;;
      *)
        # shellcheck disable=SC2001 # bash 3.2 reads quotes in an expansion otherwise.
        escaped=$(sed 's/"/\\"/g' <<< "$wanted")
        run aws sqs set-queue-attributes --queue-url "$resource" \
          --attributes "{\"Policy\": \"$escaped\"}"
        ;;
    esac
    echo "  put back: the policy of ${resource##*[:/]}"
  done <<< "$policies"
}

# A number that `cargo lambda deploy` reads in the function's Cargo.toml.
metadata() { # FUNCTION NAME
  sed -n "s/^$2 = \([0-9]*\)\$/\1/p" "functions/${1#guardrail-}/Cargo.toml"
}

build_functions() {
  local function packages=() target
  [[ -z $binaries ]] || return 0
  for function in "${functions[@]}"; do packages+=(--package "$function"); done
  target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  [[ $architecture != arm64 ]] || packages+=(--arm64)
  run cargo lambda build --release --locked --output-format zip "${packages[@]}" || fail "the functions could not be built; see above"
  binaries=$target/lambda
}

# The lines of `NAME=VALUE` of a function's environment.
environment_of() { # FUNCTION
  echo "GUARDRAIL_KEY_ARN=$(output KeyArn)"
  echo "GUARDRAIL_LEDGER_TABLE=$(output LedgerTable)"
  echo "GUARDRAIL_PARAMETER_PREFIX=$prefix"
  echo "GUARDRAIL_ROLE_ARN=$(output RemediateRoleArn)"
  echo "GUARDRAIL_TOPIC_ARN=$topic"
  case $1 in
    guardrail-remediate) echo "GUARDRAIL_SECOND_TOPIC_ARN=$second_topic" ;;
    guardrail-sweep)
      echo "GUARDRAIL_QUEUE_URL=$queue"
      echo "GUARDRAIL_SECOND_TOPIC_ARN=$second_topic"
      ;;
    # On another AWS, nobody could guess where it answers without TLS, to be refused there.
    guardrail-verify) [[ $endpoint != http://* ]] || echo "GUARDRAIL_HTTP_ENDPOINT_URL=$endpoint" ;;
  esac
}

# What of a function is not as wanted, by name; `all` of one that does not exist. Both are lines of values in this order.
differing() { # FOUND WANTED
  local name found wanted differs=""
  [[ -n $1 ]] || { echo all && return; }
  for name in role memory timeout runtime handler layers network architecture code; do
    found=${1%%"$tab"*} wanted=${2%%"$tab"*}
    set -- "${1#*"$tab"}" "${2#*"$tab"}"
    [[ $found == "$wanted" ]] || differs="$differs $name"
  done
  # The rest is the environment, in JSON and in lines.
  [[ $(tr -d '{}"' <<< "$1" | tr ',' '\n' | sed 's/^ *//; s/: */=/' | sort) == $(sort <<< "$2") ]] || differs="$differs environment"
  echo "${differs# }"
}

deploy_function() { # FUNCTION ROLE
  local function=$1 role=$2 zip=$binaries/$1/bootstrap.zip digest="" found wanted differs settings=() changes=() line attempt=1
  [[ ! -f $zip ]] || digest=$(openssl dgst -sha256 -binary "$zip" | openssl base64 -A)
  wanted=$(printf '%s\t' "$role" "$(metadata "$function" memory)" "$(metadata "$function" timeout)" \
    provided.al2023 bootstrap 0 none "$architecture" "$digest" && environment_of "$function")
  found=$(look_for lambda get-function --function-name "$function" --query "Configuration.[Role, MemorySize, Timeout, Runtime,
    Handler, length(Layers || \`[]\`), VpcConfig.VpcId || 'none', Architectures[0], CodeSha256, to_string(Environment.Variables)]")
  differs=$(differing "$found" "$wanted")
  if [[ -z $differs ]]; then
    echo "  $function: unchanged"
    return
  fi
  while read -r line; do settings+=(--env-var "$line"); done <<< "$(environment_of "$function")"
  if [[ $differs =~ role|memory|timeout|runtime|handler|layers|network|environment ]]; then
    # `cargo lambda deploy` changes neither a role alone, nor what it was not told of.
    [[ $differs != *layers* ]] || changes+=(--layers '[]')
    [[ $differs != *network* ]] || changes+=(--vpc-config 'SubnetIds=[],SecurityGroupIds=[]')
    quietly aws lambda update-function-configuration --function-name "$function" --role "$role" \
      --memory-size "$(metadata "$function" memory)" --timeout "$(metadata "$function" timeout)" --runtime provided.al2023 \
      --handler bootstrap --environment "$(environment_of "$function" | awk -F = '
        { name = $1; sub(/^[^=]*=/, ""); all = all ", \"" name "\": \"" $0 "\"" } END { print "{\"Variables\": {" substr(all, 3) "}}" }')" \
      ${changes[@]+"${changes[@]}"}
    run aws lambda wait function-updated --function-name "$function"
  fi
  if [[ $differs == *architecture* ]]; then
    # It never changes the architecture either.
    quietly aws lambda update-function-code --function-name "$function" --architectures "$architecture" --zip-file "fileb://$zip"
    run aws lambda wait function-updated --function-name "$function"
  elif [[ $differs =~ all|code ]]; then
    # A role that was just created takes some seconds to be one that Lambda may use.
    until quietly cargo-lambda lambda deploy "$function" ${endpoint:+--endpoint-url "$endpoint"} --iam-role "$role" \
      --lambda-dir "$binaries" --tag application=s3-guardrail "${settings[@]}"; do
      ((attempt++ < 4)) || fail "$function could not be deployed; mend what is said above and run this again, it goes on from there"
      sleep 5
    done
  fi
  if [[ -n $dry_run ]]; then
    echo "  $function: would be changed: ${differs// /, }"
  elif [[ $differs == all ]]; then
    echo "  $function: deployed"
  else
    echo "  $function: put back or brought up to date: ${differs// /, }"
  fi
}

deploy_functions() {
  deploy_function guardrail-remediate "$(output RemediateRoleArn)"
  deploy_function guardrail-sweep "$(output SweepRoleArn)"
  deploy_function guardrail-bootstrap "$(output BootstrapRoleArn)"
  deploy_function guardrail-verify "$(output VerifyRoleArn)"
  # Its event source mappings bound it. An earlier version reserved some, and who stops it altogether reserves none.
  [[ $concurrency != None ]] || return 0
  run aws lambda delete-function-concurrency --function-name guardrail-remediate
  [[ -n $dry_run ]] || echo "  guardrail-remediate: put back or brought up to date: reserved concurrency, from $concurrency to none"
}

# What works, says a sweep.
smoke_test() {
  local answer error
  if [[ -n $dry_run ]]; then
    run aws lambda invoke --function-name guardrail-sweep --cli-read-timeout 0 /dev/stdout
    return
  fi
  answer=$(mktemp)
  # shellcheck disable=SC2064 # The name as it is now.
  trap "rm -f '$answer'" EXIT
  # Left to itself the CLI gives up after a minute, and invokes it again.
  error=$(AWS_MAX_ATTEMPTS=1 ask lambda invoke --function-name guardrail-sweep --cli-read-timeout 0 --query FunctionError "$answer") ||
    fail "guardrail-sweep could not be invoked"
  [[ $error == None ]] || fail "guardrail-sweep failed: $(cat "$answer")"
  echo "  guardrail-sweep answers: $(cat "$answer")"
  if grep -q '"guardrail"' "$answer"; then
    echo "  Not all is in place yet: see the findings above, and RUNBOOK.md, \"BROKEN\"."
    echo "  Without a guarded bucket there may be no trail, and without a confirmed subscription nobody is told."
  else
    echo "  Rules, permissions, trail and topics are as they should be."
  fi
  echo "Guard a bucket: guardrail bootstrap NAME, or"
  echo "  AWS_MAX_ATTEMPTS=1 aws lambda invoke --function-name guardrail-bootstrap --cli-read-timeout 0 \\"
  echo "    --cli-binary-format raw-in-base64-out --payload '{\"bucket\":\"NAME\"}' /dev/stdout"
}

main() {
  read_options "$@"
  locate
  check_tools
  echo "s3-guardrail -> account $account, $region${dry_run:+ (dry run)}"
  check_account

  echo "1/5 what the functions need"
  deploy_foundation

  echo "2/5 the functions"
  build_functions
  deploy_functions

  echo "3/5 what calls and what watches them"
  deploy_stack s3-guardrail-wiring infra/wiring.yaml "$region" ParameterPrefix="$prefix"

  echo "4/5 events of IAM"
  if [[ $region == "$global" ]]; then
    echo "  are recorded in this region"
  else
    deploy_stack "$global_stack" infra/global.yaml "$global" HomeRegion="$region" ${boundary:+PermissionsBoundaryArn="${boundary#none}"}
  fi

  echo "5/5 smoke test"
  smoke_test
  [[ -z $left ]] || fail "what is named above was not put back, because this AWS CLI cannot: install 2.31.38 or newer and run this again"
}

main "$@"
