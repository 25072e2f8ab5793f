#!/bin/bash
# Answers one HTTP request, on standard input and output, with the node's report: a JSON document, which
# fleet/plan/report.py describes. fleet-report@.service runs it for each connection; fleet/workloads/report.py renders
# it, without these comments.
#
# Nothing of the request is used but its method and its path. Of the journal's text one word leaves the node, `cause`.
# What runs with every answer is little: systemctl four times, podman once, and only where a container has been started,
# so that a node's storage is never opened before the disk that it is on is mounted. Answers are kept for two seconds.
#
# Usage: report.sh UNITS FOLDER ENGINE
#   UNITS   a file with a line a unit: KIND UNIT NAME USER UID EXPECT MOUNT, with "-" for none
#   FOLDER  where answers are kept
#   ENGINE  podman or docker
set -u
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat
units_file=$1 folder=$2 engine=$3
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
        timeout 20 "$@"
        return
    fi
    IFS=: read -r _ _ _ _ _ home _ < <(getent passwd "$user")
    timeout 20 runuser -u "$user" -- env "HOME=$home" "XDG_RUNTIME_DIR=/run/user/$uid" "$@"
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
    local properties=LoadState,ActiveState,SubState,Result,NRestarts,ExecMainCode,ExecMainStatus
    properties+=,StateChangeTimestampMonotonic,StatusText
    while IFS= read -r line; do
        if [[ -z $line ]]; then
            index=$((index + 1))
        elif ((index < ${#asked[@]})); then
            facts[$user/${asked[index]}/${line%%=*}]=${line#*=}
        fi
    done < <(manager "$user" "$uid" show --property="$properties" -- "${asked[@]}")
}

# What the engine knows of containers that have been started: health[USER/NAME], digests[USER/NAME].
inspect() {
    local user=$1 uid=$2 name digest state image='{{.ImageDigest}}'
    shift 2
    [[ $engine == docker ]] && image='{{.Image}}'
    while read -r name digest state; do
        name=$user/${name#/}
        health[$name]='' digests[$name]=''
        [[ $state =~ ^(starting|healthy|unhealthy)$ ]] && health[$name]=$state
        [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] && digests[$name]=$digest
    done < <(as "$user" "$uid" "$engine" inspect --type container \
        --format "{{.Name}} $image {{with .State.Health}}{{.Status}}{{end}}" "$@")
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

# Why a unit last failed, and with what it exited: cause, last. It is read from the journal once for every failure.
why() {
    local user=$1 uid=$2 unit=$3 key=$4 kept=$folder/cause-$1-$3 line
    local -a match=("_SYSTEMD_UNIT=$unit" "SYSLOG_IDENTIFIER=$engine" + "UNIT=$unit" _PID=1)
    [[ $user == - ]] ||
        match=("_UID=$uid" "_SYSTEMD_USER_UNIT=$unit" "SYSLOG_IDENTIFIER=$engine" + "_UID=$uid" "USER_UNIT=$unit")
    cause='' last=''
    if [[ -f $kept ]]; then
        read -r line cause last <"$kept"
        if [[ $line == "$key" ]]; then
            [[ $cause == - ]] && cause=''
            return
        fi
        cause='' last=''
    fi
    ((looked++ < 16)) || return
    while IFS= read -r line; do
        if [[ -z $last && $line =~ code=exited,\ status=([0-9]+) ]]; then last=${BASH_REMATCH[1]}; fi
        if [[ -z $cause ]]; then
            if [[ $line == *"oom-kill"* ]]; then cause=out-of-memory; else cause_of "$line" && cause=$REPLY; fi
        fi
        [[ -n $cause && -n $last ]] && break
    done < <(timeout 20 journalctl --quiet --no-pager --output=cat --reverse --lines=60 --boot "${match[@]}")
    # What is not in the journal yet may be there next time.
    [[ -n $cause ]] && echo "$key $cause $last" >"$kept"
}

unit_json() {
    local kind=$1 unit=$2 name=$3 user=$4 uid=$5 expect=$6 at=$4/$2 shown=''
    local load=${facts[$at/LoadState]-} active=${facts[$at/ActiveState]-} sub=${facts[$at/SubState]-}
    local result=${facts[$at/Result]-} changed code=null seconds=null restarts pulling=false cause='' last='' key
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
        key=$restarts/${result:--}/$active
        why "$user" "$uid" "$unit" "$key"
        [[ $code == null && $last =~ ^[0-9]+$ ]] && code=$last
        [[ $result == oom-kill ]] && cause=out-of-memory
    fi
    if [[ $active == activating && $sub == start ]]; then
        [[ $kind == image || ($kind == container && -z ${health[$user/$name]+set}) ]] && pulling=true
    fi
    [[ $user == - ]] || shown=$user
    local json='' field
    for field in "unit $unit" "name $name" "kind $kind" "expect $expect" "user $shown" "load $load" "active $active" \
        "sub $sub" "result $result" "health ${health[$user/$name]-}" "image ${digests[$user/$name]-}" "cause $cause"; do
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
    local -A facts=() health=() digests=() scopes=() own=()
    local -a lines=() units=() jobs=() failed=() disks=()
    local kind unit name user uid expect mount line type state now looked=0 scope active sub
    while read -r line; do
        [[ -n $line ]] || continue
        lines+=("$line")
        read -r kind unit name user uid expect mount <<<"$line"
        scopes[$user $uid]+=" $unit"
        own[$user/$unit]=1
    done <"$units_file"
    scopes[- -]+=" zincati.service"
    for scope in "${!scopes[@]}"; do
        read -r user uid <<<"$scope"
        read -ra asked <<<"${scopes[$scope]}"
        look "$user" "$uid" "${asked[@]}"
        while read -r _ unit type state _; do
            [[ $unit == fleet-report@* || -z $state ]] && continue
            quote "$unit" && unit=$REPLY
            quote "$type" && type=$REPLY
            quote "$state"
            jobs+=("{\"unit\": $unit, \"type\": $type, \"state\": $REPLY}")
        done < <(manager "$user" "$uid" list-jobs --no-legend --plain --full)
    done
    while read -r unit _; do
        [[ -z $unit || -n ${own[-/$unit]+set} || $unit == fleet-report@* ]] && continue
        quote "$unit"
        failed+=("$REPLY")
    done < <(manager - - list-units --state=failed --no-legend --plain --full)
    local -A started=()
    for line in "${lines[@]}"; do
        read -r kind unit name user uid expect mount <<<"$line"
        active=${facts[$user/$unit/ActiveState]-} sub=${facts[$user/$unit/SubState]-}
        if [[ $kind == container ]]; then
            case $active/$sub in
            active/running | activating/start | activating/start-post | reloading/*)
                started[$user $uid]+=" $name" ;;
            esac
        fi
    done
    for scope in "${!started[@]}"; do
        read -r user uid <<<"$scope"
        read -ra asked <<<"${started[$scope]}"
        inspect "$user" "$uid" "${asked[@]}"
    done
    clock && now=$REPLY
    local root=/
    # On Fedora CoreOS / is an image that is always full; what can fill is below /sysroot.
    mountpoint -q /sysroot && root=/sysroot
    disk_json "$root" / '' && disks+=("$REPLY")
    if [[ $(stat -c %d /var) != "$(stat -c %d "$root")" ]]; then disk_json /var /var '' && disks+=("$REPLY"); fi
    for line in "${lines[@]}"; do
        read -r kind unit name user uid expect mount <<<"$line"
        unit_json "$kind" "$unit" "$name" "$user" "$uid" "$expect"
        units+=("$REPLY")
        if [[ $kind == mount && ${facts[$user/$unit/ActiveState]-} == active ]]; then
            disk_json "$mount" "$mount" "$name" && disks+=("$REPLY")
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
    now=$((now / 10000))
    printf '{"version": 1, %s"uptime_seconds": %d.%02d}\n' "$json" $((now / 100)) $((now % 100))
}

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
