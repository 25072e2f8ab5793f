#!/bin/bash
# Answers one HTTP request, on standard input and output, with the node's report: a JSON document, which
# fleet/plan/report.py describes. fleet-report@.service runs it for each connection; fleet/workloads/report.py renders
# it, without these comments.
#
# Nothing of the request is used but its method and its path. Of the journal's text one word leaves the node, `cause`.
#
# An answer is made of what systemd knows, which is had at once, and kept for two seconds. What podman and the journal
# know may take a busy node many seconds: fleet-report-inspect.service, which runs this with "inspect", notes it, and
# answers take it from there. Podman is asked only of containers that have been started, so that a node's storage is
# never opened before the disk that it is on is mounted.
#
# Usage: report.sh UNITS FOLDER ENGINE [inspect]
#   UNITS   a file with a line a unit: KIND UNIT NAME USER UID EXPECT DETAIL, with "-" for none; DETAIL is where a data
#           disk is mounted, and "check" for a container with a health check
#   FOLDER  where answers and notes are kept
#   ENGINE  podman or docker
set -u
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat
units_file=$1 folder=$2 engine=$3 mode=${4-}
cd /

answer() {
    printf 'HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %s\r\nCache-Control: no-store\r\n' "$1" "$2" "${#3}"
    printf 'X-Content-Type-Options: nosniff\r\nAllow: GET\r\nConnection: close\r\n\r\n%s' "$3"
}

# The text as a JSON string: ASCII alone, without control characters.
quote() {
    local text=${1//[^ -~]/}
    text=${text//\\/\\\\}
    REPLY="\"${text//\"/\\\"}\""
}

number() {
    [[ $1 =~ ^[0-9]{1,18}$ ]] && REPLY=$((10#$1)) || REPLY=$2
}

# Microseconds since the start, as systemd's monotonic time stamps count them.
clock() {
    local seconds
    read -r seconds _ </proc/uptime
    seconds=${seconds/./}
    REPLY=$((10#$seconds * 10000))
}

# Run a command as the user of a unit.
as() {
    local user=$1 uid=$2 home=/
    shift 2
    if [[ $user == - ]]; then
        timeout 60 "$@"
        return
    fi
    IFS=: read -r _ _ _ _ _ home _ < <(getent passwd "$user")
    timeout 60 runuser -u "$user" -- env "HOME=$home" "XDG_RUNTIME_DIR=/run/user/$uid" "$@"
}

manager() {
    local user=$1 uid=$2
    shift 2
    if [[ $user == - ]]; then as - - systemctl "$@"; else as "$user" "$uid" systemctl --user "$@"; fi
}

# What systemd knows of units, into facts[USER/UNIT/PROPERTY]: it answers with a block a unit, in the order asked.
look() {
    local user=$1 uid=$2 index=0 line
    shift 2
    local -a asked=("$@")
    local properties=LoadState,ActiveState,SubState,Result,NRestarts,ExecMainCode,ExecMainStatus,InvocationID
    properties+=,StateChangeTimestampMonotonic,StatusText
    while IFS= read -r line; do
        if [[ -z $line ]]; then
            index=$((index + 1))
        elif ((index < ${#asked[@]})); then
            facts[$user/${asked[index]}/${line%%=*}]=${line#*=}
        fi
    done < <(manager "$user" "$uid" show --property="$properties" -- "${asked[@]}")
}

# The units, and what systemd knows of them: lines, scopes, own, facts; started[USER UID]: the containers that podman can
# be asked of; failing: units whose last run failed.
survey() {
    local line kind unit name user uid expect detail scope active sub
    local -a asked
    while read -r line; do
        [[ -n $line ]] || continue
        lines+=("$line")
        read -r kind unit name user uid expect detail <<<"$line"
        scopes[$user $uid]+=" $unit"
        own[$user/$unit]=1
    done <"$units_file"
    scopes[- -]+=" zincati.service fleet-report-inspect.service"
    for scope in "${!scopes[@]}"; do
        read -r user uid <<<"$scope"
        read -ra asked <<<"${scopes[$scope]}"
        look "$user" "$uid" "${asked[@]}"
    done
    for line in "${lines[@]}"; do
        read -r kind unit name user uid expect detail <<<"$line"
        active=${facts[$user/$unit/ActiveState]-} sub=${facts[$user/$unit/SubState]-}
        number "${facts[$user/$unit/NRestarts]-}" 0
        [[ $active == failed || $sub == auto-restart* || $REPLY -gt 0 ]] && failing+=("$user $uid $unit")
        if [[ $kind == container ]]; then
            case $active/$sub in
            active/running | activating/start | activating/start-post | reloading/*) started[$user $uid]+=" $name" ;;
            esac
        fi
    done
}

# The word for an error of the engine's; empty if there is none.
cause_of() {
    local line=${1,,}
    REPLY=''
    [[ $line == error:* || $line == docker:* || $line == "error response from daemon"* || $line == *level=error* ]] ||
        return
    case $line in
    *toomanyrequests* | *"too many requests"*) REPLY=registry-limit ;;
    *x509:* | *"tls: failed to verify"* | *"certificate signed by unknown"*) REPLY=registry-certificate ;;
    *"no image found in"*architecture* | *"no matching manifest for"* | *"exec format error"* | \
        *"does not match the specified platform"*) REPLY=architecture ;;
    *"manifest unknown"* | *"manifest for "*"not found"* | *"name unknown"* | *"image not known"* | \
        *"no such image"* | *"does not exist locally"* | *"404 (not found)"*) REPLY='image-unknown' ;;
    *"access to the resource is denied"* | *unauthorized* | *"authentication required"* | *"403 (forbidden)"* | \
        *"pull access denied"*) REPLY='image-denied' ;;
    *"no space left on device"*) REPLY=disk-full ;;
    *"no such secret"* | *"no secret with name or id"*) REPLY=secret-missing ;;
    *"address already in use"* | *"port is already allocated"*) REPLY=port-in-use ;;
    *"pinging container registry"* | *"dial tcp"* | *"no such host"* | *"i/o timeout"* | *"network is unreachable"* | \
        *"no route to host"* | *"connection refused"* | *"gave http response to https"*) REPLY=registry-unreachable ;;
    *"executable file"*"not found"* | *"no such file or directory"*"oci runtime"* | \
        *"oci runtime attempted to invoke a command that was not found"*) REPLY=command-unknown ;;
    *"cannot allocate memory"* | *"out of memory"*) REPLY=out-of-memory ;;
    esac
}

# Note what the engine knows of containers that have been started, and why units failed. A line each:
#   container USER/NAME INVOCATION HEALTH DIGEST    HEALTH is "absent" where there is no container
#   failed USER/UNIT CAUSE STATUS
inspection() {
    local -A facts=() scopes=() own=() started=() seen=() causes=() ended=()
    local -a lines=() failing=() asked=() match=()
    local scope user uid name digest state unit line key
    survey
    local image='{{.ImageDigest}}'
    [[ $engine == docker ]] && image='{{.Image}}'
    for scope in "${!started[@]}"; do
        read -r user uid <<<"$scope"
        read -ra asked <<<"${started[$scope]}"
        while read -r name digest state; do
            name=${name#/}
            seen[$user/$name]=1
            [[ $state =~ ^(starting|healthy|unhealthy)$ ]] || state=-
            [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || digest=-
            echo "container $user/$name ${facts[$user/$name.service/InvocationID]:--} $state $digest"
        done < <(as "$user" "$uid" "$engine" inspect --type container \
            --format "{{.Name}} $image {{with .State.Health}}{{.Status}}{{end}}" "${asked[@]}")
        for name in "${asked[@]}"; do
            [[ -n ${seen[$user/$name]-} ]] ||
                echo "container $user/$name ${facts[$user/$name.service/InvocationID]:--} absent -"
        done
    done
    for line in "${failing[@]}"; do
        read -r user uid unit <<<"$line"
        # The engine's own words, as it writes them to its standard error; containers log in another way. And systemd's.
        if [[ $user == - ]]; then
            match+=(+ "_SYSTEMD_UNIT=$unit" _TRANSPORT=stdout + "UNIT=$unit" _PID=1)
        else
            match+=(+ "_SYSTEMD_USER_UNIT=$unit" "_UID=$uid" _TRANSPORT=stdout + "USER_UNIT=$unit" "_UID=$uid")
        fi
        scopes[$uid]=$user
    done
    ((${#match[@]})) || return
    while IFS= read -r line; do
        [[ $line =~ \"MESSAGE\"\ ?:\ ?\"(([^\"\\]|\\.)*)\" ]] || continue
        state=${BASH_REMATCH[1]} user=- unit=''
        if [[ $line =~ \"UNIT\"\ ?:\ ?\"([^\"]*)\" ]]; then
            unit=${BASH_REMATCH[1]}
        elif [[ $line =~ \"(_SYSTEMD_)?USER_UNIT\"\ ?:\ ?\"([^\"]*)\" ]]; then
            unit=${BASH_REMATCH[2]}
            # Of a user's manager itself, the unit is the one that it speaks of.
            [[ $line =~ \"USER_UNIT\"\ ?:\ ?\"([^\"]*)\" ]] && unit=${BASH_REMATCH[1]}
            [[ $line =~ \"_UID\"\ ?:\ ?\"([0-9]+)\" ]] && user=${scopes[${BASH_REMATCH[1]}]:--}
        elif [[ $line =~ \"_SYSTEMD_UNIT\"\ ?:\ ?\"([^\"]*)\" ]]; then
            unit=${BASH_REMATCH[1]}
        fi
        # What JSON writes as two backslashes is one.
        key=$user/${unit//\\\\/\\}
        if [[ -z ${ended[$key]-} && $state =~ code=exited,\ status=([0-9]+) ]]; then ended[$key]=${BASH_REMATCH[1]}; fi
        if [[ -z ${causes[$key]-} ]] && cause_of "$state" && [[ -n $REPLY ]]; then causes[$key]=$REPLY; fi
    done < <(timeout 60 journalctl --quiet --no-pager --reverse --lines=400 --boot --output=json \
        --output-fields=MESSAGE,UNIT,USER_UNIT,_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT,_UID "${match[@]:1}")
    for line in "${failing[@]}"; do
        read -r user uid unit <<<"$line"
        echo "failed $user/$unit ${causes[$user/$unit]:--} ${ended[$user/$unit]:--}"
    done
}

unit_json() {
    local kind=$1 unit=$2 name=$3 user=$4 expect=$5 detail=$6 at=$4/$2 shown='' health='' image='' noted
    local load=${facts[$at/LoadState]-} active=${facts[$at/ActiveState]-} sub=${facts[$at/SubState]-}
    local result=${facts[$at/Result]-} changed code=null seconds=null restarts pulling=false cause='' last=''
    number "${facts[$at/NRestarts]-}" 0 && restarts=$REPLY
    number "${facts[$at/ExecMainCode]-}" 0
    case $REPLY in
    0) ;;
    1) number "${facts[$at/ExecMainStatus]-}" null && code=$REPLY ;;
    *) number "${facts[$at/ExecMainStatus]-}" 0 && code=$((128 + REPLY)) ;;
    esac
    number "${facts[$at/StateChangeTimestampMonotonic]-}" 0 && changed=$REPLY
    if ((changed)); then
        changed=$(((now - changed) / 100000))
        ((changed < 0)) && changed=0
        seconds=$((changed / 10)).$((changed % 10))
    fi
    if [[ $active == failed || $sub == auto-restart* || $restarts -gt 0 ]]; then
        wanted=1
        read -r cause last <<<"${notes[failed $at]-}"
        [[ $cause == - ]] && cause=''
        [[ $code == null && $last =~ ^[0-9]+$ ]] && code=$last
        [[ $result == oom-kill ]] && cause=out-of-memory
    fi
    if [[ $kind == image && $active == activating && $sub == start ]]; then pulling=true; fi
    if [[ $kind == container && ($active == active || $active == activating && $sub == start*) ]]; then
        # Notes of an earlier run are not of this one.
        noted=${notes[container $user/$name ${facts[$at/InvocationID]:--}]-}
        read -r health image <<<"$noted"
        [[ -z $noted || $health == absent || $detail == check ]] && wanted=1
        [[ $health == absent && $active/$sub == activating/start ]] && pulling=true
        [[ $health =~ ^(starting|healthy|unhealthy)$ ]] || health=''
        [[ -z $health && $detail == check ]] && health=starting
        [[ $image == - ]] && image=''
    fi
    [[ $user == - ]] || shown=$user
    local json='' field
    for field in "unit $unit" "name $name" "kind $kind" "expect $expect" "user $shown" "load $load" "active $active" \
        "sub $sub" "result $result" "health $health" "image $image" "cause $cause"; do
        quote "${field#* }"
        json+="\"${field%% *}\": $REPLY, "
    done
    REPLY="{$json\"restarts\": $restarts, \"exit_code\": $code, \"seconds\": $seconds, \"pulling\": $pulling}"
}

# A file system's fullness.
disk_json() {
    local place=$1 mount=$2 name=$3 size blocks free
    read -r size blocks free < <(timeout 5 stat -f -c '%S %b %f' -- "$place") || return
    quote "$mount" && mount=$REPLY
    quote "$name"
    REPLY="{\"mount\": $mount, \"name\": $REPLY, \"size_bytes\": $((size * blocks)), "
    REPLY+="\"used_bytes\": $((size * (blocks - free)))}"
}

joined() {
    local IFS=,
    REPLY="$*"
}

document() {
    local -A facts=() scopes=() own=() started=() notes=()
    local -a lines=() units=() jobs=() failed=() disks=() failing=()
    local kind unit name user uid expect detail line type state now scope wanted='' at=0 took=0 rest
    survey
    if [[ -f $folder/notes ]]; then
        {
            read -r at took
            while read -r kind name rest; do
                case $kind in
                container) notes[container $name ${rest%% *}]=${rest#* } ;;
                failed) notes[failed $name]=$rest ;;
                esac
            done
        } <"$folder/notes"
    fi
    for scope in "${!scopes[@]}"; do
        read -r user uid <<<"$scope"
        while read -r _ unit type state _; do
            [[ $unit == fleet-report* || -z $state ]] && continue
            quote "$unit" && unit=$REPLY
            quote "$type" && type=$REPLY
            quote "$state"
            jobs+=("{\"unit\": $unit, \"type\": $type, \"state\": $REPLY}")
        done < <(manager "$user" "$uid" list-jobs --no-legend --plain --full)
    done
    while read -r unit _; do
        [[ -z $unit || -n ${own[-/$unit]+set} || $unit == fleet-report* ]] && continue
        quote "$unit"
        failed+=("$REPLY")
    done < <(manager - - list-units --state=failed --no-legend --plain --full)
    clock && now=$REPLY
    local root=/
    # On Fedora CoreOS / is an image that is always full; what can fill is below /sysroot.
    mountpoint -q /sysroot && root=/sysroot
    disk_json "$root" / '' && disks+=("$REPLY")
    if [[ $(stat -c %d /var) != "$(stat -c %d "$root")" ]]; then disk_json /var /var '' && disks+=("$REPLY"); fi
    for line in "${lines[@]}"; do
        read -r kind unit name user uid expect detail <<<"$line"
        unit_json "$kind" "$unit" "$name" "$user" "$expect" "$detail"
        units+=("$REPLY")
        if [[ $kind == mount && ${facts[$user/$unit/ActiveState]-} == active ]]; then
            disk_json "$detail" "$detail" "$name" && disks+=("$REPLY")
        fi
    done

    local os='' release='' deployment='' node kernel boot system json field zincati='' status='' staged=''
    # shellcheck source=/dev/null
    {
        read -r os
        read -r release
    } < <(source /etc/os-release && printf '%s\n%s\n' "${PRETTY_NAME%% [0-9]*}" "${OSTREE_VERSION:-${VERSION_ID-}}")
    read -r line </proc/cmdline
    if [[ " $line " =~ \ ostree=([^ ]+)\  ]]; then
        deployment=$(readlink -f -- "/sysroot${BASH_REMATCH[1]}")
        deployment=${deployment##*/}
        deployment=${deployment%%.*}
    fi
    read -r node </proc/sys/kernel/hostname
    read -r kernel </proc/sys/kernel/osrelease
    read -r boot </proc/sys/kernel/random/boot_id
    system=$(manager - - is-system-running)
    if [[ ${facts[-/zincati.service/LoadState]-} == loaded ]]; then
        zincati=${facts[-/zincati.service/ActiveState]-} status=${facts[-/zincati.service/StatusText]-}
    fi
    if [[ -e /run/ostree/staged-deployment ]]; then
        staged=unknown
        [[ $status =~ [0-9]+\.[0-9]{8}\.[0-9]+\.[0-9]+ ]] && staged=${BASH_REMATCH[0]}
    fi
    json=''
    for field in "node $node" "os $os" "release $release" "deployment $deployment" "kernel $kernel" "boot_id $boot" \
        "system $system"; do
        quote "${field#* }"
        json+="\"${field%% *}\": $REPLY, "
    done
    quote "$zincati" && zincati=$REPLY
    quote "$status" && status=$REPLY
    quote "$staged" && staged=$REPLY
    json+="\"update\": {\"state\": $zincati, \"status\": $status, \"staged\": $staged}, "
    joined "${units[@]}" && json+="\"units\": [$REPLY], "
    joined "${failed[@]}" && json+="\"failed\": [$REPLY], "
    joined "${jobs[@]}" && json+="\"jobs\": [$REPLY], "
    joined "${disks[@]}" && json+="\"disks\": [$REPLY], "
    # The more time it takes, the less often.
    if [[ -n $wanted && ${facts[-/fleet-report-inspect.service/ActiveState]-} != activating ]] &&
        ((now < at || now - at > 3000000 + 4 * took)); then
        manager - - start --no-block fleet-report-inspect.service
    fi
    now=$((now / 10000))
    printf '{"version": 1, %s"uptime_seconds": %d.%02d}\n' "$json" $((now / 100)) $((now % 100))
}

if [[ $mode == inspect ]]; then
    clock && begin=$REPLY
    noted=$(inspection)
    clock
    printf '%s %s\n%s\n' "$REPLY" $((REPLY - begin)) "$noted" >"$folder/notes.new"
    mv "$folder/notes.new" "$folder/notes"
    exit 0
fi

IFS=' ' read -r -t 10 -n 2048 method target _ || exit 0
method=${method%$'\r'} target=${target%$'\r'}
for ((count = 0; count < 100; count++)); do
    IFS= read -r -t 5 -n 4096 header || exit 0
    [[ -n ${header%$'\r'} ]] || break
done
if [[ $method != GET ]]; then
    answer '405 Method Not Allowed' text/plain $'Only GET is answered.\n'
elif [[ $target != / ]]; then
    answer '404 Not Found' text/plain $'The report is at /.\n'
else
    mkdir -p "$folder"
    exec 9>"$folder/lock"
    # One gathers at a time; those who wait for it take what it gathered.
    if ! flock -w 60 9; then
        answer '503 Service Unavailable' text/plain $'The report takes too long.\n'
        exit 0
    fi
    clock
    at=0
    [[ -f $folder/at ]] && read -r at <"$folder/at"
    if ! [[ -f $folder/report.json && $at =~ ^[0-9]+$ ]] || ((REPLY - at > 2000000 || REPLY < at)); then
        document >"$folder/report.new" 9>&- </dev/null
        mv "$folder/report.new" "$folder/report.json"
        clock
        echo "$REPLY" >"$folder/at"
    fi
    body=$(<"$folder/report.json")
    flock -u 9
    answer '200 OK' application/json "$body"$'\n'
fi
