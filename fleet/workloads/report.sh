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
# A process is dear on a busy node: what bash can do itself, it does.
#
# Usage: report.sh UNITS FOLDER ENGINE NAMES [inspect]
#   UNITS   a file with a line a unit: KIND UNIT NAME USER UID EXPECT DETAIL, with "-" for none; DETAIL is where a data
#           disk is mounted, and "check" for a container with a health check
#   FOLDER  where answers and notes are kept
#   ENGINE  podman or docker
#   NAMES   "all"; or "own": of units that are not in UNITS, the type alone is told
list=$1 folder=$2 engine=$3 names=$4
export LC_ALL=C
shopt -s nocasematch
# It runs once: all variables are everybody's.
declare -A f notes runs units told disks
cd /

answer() {
    printf 'HTTP/1.0 %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n' "$1" ${#2}
    printf 'Cache-Control: no-store\r\nAllow: GET\r\n\r\n%s' "$2"
}

# The time since the start: uptime, in seconds, and now, in hundredths.
clock() {
    read -r uptime _ </proc/uptime
    now=$((10#${uptime/./}))
}

# Add members to the object in json: what quotes their values, then keys and values. What is quoted becomes ASCII
# without control characters.
add() {
    quote=$1
    while shift && (($#)); do
        text=$2
        if [[ $quote ]]; then
            text=${text:0:400}
            text=${text//[^ -~]/}
            text=${text//\\/\\\\}
            text=${text//\"/\\\"}
        fi
        json+="${json:+, }\"$1\": $quote$text$quote"
        shift
    done
}

# Become a command of the user's whose units are looked at. A user can stop it, so it gets a limit, in seconds.
as() {
    [[ $user == - ]] && exec "$@"
    exec timeout -s KILL "${limit:-10}" runuser -u "$user" -- env "XDG_RUNTIME_DIR=/run/user/$uid" "$@"
}

# Read the properties of one unit, into f: systemctl gives a block a unit, in the order asked. A user can have it say
# anything, and where bash wants a number, it runs the commands that are in a text.
block() {
    f=()
    while IFS= read -r -u 3 line && [[ $line ]]; do
        number=''
        [[ $line =~ ^(N|Exec|StateChange) ]] && number='(0|[1-9][0-9]{0,17})$'
        [[ $line =~ ^[A-Za-z]+=$number ]] && f[${line%%=*}]=${line#*=}
    done
}

# Call $1 for every unit, and $2 after those of each user. They are told of it by variables.
survey() {
    while read -r kind unit name user uid expect detail; do
        units[$user $uid]+=" $unit"
        told[$user/$unit]="$kind $name $expect $detail"
    done <"$list"
    units[- 0]+=" zincati.service fleet-report-inspect.service"
    for owner in "${!units[@]}"; do
        read -r user uid <<<"$owner"
        read -ra asked <<<"${units[$owner]}"
        [[ $user == - ]] && scope=--system || scope=--user
        for unit in "${asked[@]}"; do
            block
            read -r kind name expect detail <<<"${told[$user/$unit]}"
            state=${f[ActiveState]}/${f[SubState]} fails='' runs_now=''
            [[ $state == failed/* || $state == */auto-restart* || ${f[NRestarts]} -gt 0 ]] && fails=1
            [[ $kind/$state =~ ^container/(active/running|activating/start|reloading/) ]] && runs_now=1
            "$1"
        done 3< <(as systemctl "$scope" show --property="LoadState,ActiveState,SubState,Result,NRestarts,ExecMainCode,\
ExecMainStatus,InvocationID,StateChangeTimestampMonotonic,StatusText" -- "${asked[@]}")
        "$2"
    done
}

# The word for an error of the engine's, and a part of its text.
causes=(
    'registry-limit toomanyrequests|too many requests'
    'registry-certificate x509:|certificate signed'
    'architecture for architecture|no matching manifest|exec format error|specified platform'
    'image-unknown manifest .*(unknown|not found)|name unknown|image not known|no such image|exist locally|404 .not'
    'image-denied access.*denied|unauthorized|authentication required|403 .forb'
    'disk-full no space left'
    'secret-missing no (such )?secret'
    'port-in-use address already|port is already'
    'registry-unreachable pinging|dial tcp|no such host|i/o timeout|unreachable|no route|refused|gave http'
    'command-unknown executable file .*not found|no such file .*oci'
    'out-of-memory cannot allocate|out of memory'
)

# Note why a unit failed; and of a container that it has been started.
look() {
    cause='' code='' type=''
    [[ $runs_now ]] && runs[$name]=${f[InvocationID]} notes[$user/$name ${f[InvocationID]}]=absent,
    [[ $fails ]] || return
    [[ $user == - ]] || type=USER_
    # The engine's own words, as it writes them to its standard error; containers log in another way. And systemd's.
    while [[ ! $cause || ! $code ]] && IFS= read -r line; do
        [[ ! $code && $line =~ code=exited,\ status=([0-9]+) ]] && code=${BASH_REMATCH[1]}
        [[ ! $cause && $line =~ ^error:|^docker:|^error\ response|level=error ]] || continue
        for each in "${causes[@]}"; do
            [[ $line =~ ${each#* } ]] && cause=${each%% *} && break
        done
    done < <(exec timeout 60 journalctl -qr -b -o cat -n 99 "_SYSTEMD_${type}UNIT=$unit" "_UID=$uid" _TRANSPORT=stdout \
        + "${type}UNIT=$unit" "_UID=$uid")
    notes[$user/$unit]=$cause,$code
}

# Note what the engine knows of a user's containers that have been started.
inspect() {
    image=.ImageDigest
    ((${#runs[@]})) || return
    [[ $engine == docker ]] && image=.Image
    while ((${#notes[@]} < 9999)) && IFS=, read -r name image health; do
        name=${name#/}
        [[ $name ]] && notes[$user/$name ${runs[$name]}]=$health,${image:0:99}
    done < <(limit=70 as timeout 60 "$engine" inspect --type container \
        --format "{{.Name}},{{$image}},{{with .State.Health}}{{.Status}}{{end}}" "${!runs[@]}")
    runs=()
}

# Add a unit to the report.
tell() {
    json='' health='' image='' cause='' last='' pulling=false code=null seconds=null
    if [[ ! $kind ]]; then
        [[ $unit == zincati* && ${f[LoadState]} == loaded ]] && zincati=${f[ActiveState]} status=${f[StatusText]}
        [[ $unit == fleet* ]] && inspecting=${f[ActiveState]}
        return
    fi
    [[ $state == active/* || $expect == on-demand ]] || busy=1
    [[ $user/$state == -/failed/* ]] && ((broken--))
    [[ $kind/$state == mount/active/* ]] && disks[$detail]=$name
    case ${f[ExecMainCode]} in
    1) code=${f[ExecMainStatus]} ;;
    [2-9]) code=$((128 + f[ExecMainStatus])) ;;
    esac
    clock
    ((f[StateChangeTimestampMonotonic])) && seconds=$(((now - f[StateChangeTimestampMonotonic] / 10000) / 100))
    if [[ $fails ]]; then
        wanted=1
        IFS=, read -r cause last <<<"${notes[$user/$unit]}"
        [[ $code == null ]] && code=${last:-null}
        [[ ${f[Result]} == oom-kill ]] && cause=out-of-memory
    fi
    [[ $kind/$state == image/activating/start ]] && pulling=true
    if [[ $runs_now ]]; then
        # Notes of an earlier run are not of this one.
        IFS=, read -r health image <<<"${notes[$user/$name ${f[InvocationID]}]}"
        [[ ! $image || $detail == check ]] && wanted=1
        [[ $health/$state == absent/activating/start ]] && pulling=true
        [[ $health =~ ^(starting|healthy|unhealthy)$ ]] || health=''
        [[ $detail == check ]] && health=${health:-starting}
    fi
    add \" unit "$unit" name "$name" kind "$kind" expect "$expect" user "${user#-}" load "${f[LoadState]}" \
        active "${f[ActiveState]}" sub "${f[SubState]}" result "${f[Result]}" health "$health" image "$image" \
        cause "$cause"
    add '' restarts "${f[NRestarts]:-0}" exit_code "$code" seconds "$seconds" pulling "$pulling"
    told_units+=", {$json}"
}

# Whether a unit is told of, and as what.
named() {
    [[ $unit && $unit != fleet-report* ]] || return
    [[ $names == all || ${told[$user/$unit]} ]] || unit="?.${unit##*.}"
}

# Add a manager's jobs to the report, and the system's other units that failed.
rest() {
    [[ $user == - ]] && busy=$pending
    ((busy)) && while ((${#jobs} < 99999)) && read -r _ unit type state _; do
        named || continue
        json=''
        add \" unit "$unit" type "$type" state "$state"
        jobs+=", {$json}"
    done < <(as systemctl "$scope" list-jobs --no-legend --plain --full)
    busy=0
    [[ $user == - ]] && ((broken > 0)) && while read -r unit _; do
        [[ ${told[-/$unit]} ]] || ! named || failed+=", \"${unit//\\/\\\\}\""
    done < <(systemctl list-units --state=failed --no-legend --plain --full)
}

# The report, in body.
document() {
    json='' told_units='' jobs='' failed='' sizes='' zincati='' status='' staged='' wanted='' inspecting='' busy=0
    root=/ deployment=''
    # shellcheck source=/dev/null
    [[ -f $folder/notes ]] && source "$folder/notes"
    block 3< <(exec systemctl show --property=SystemState,NFailedUnits,NJobs)
    system=${f[SystemState]} broken=${f[NFailedUnits]} pending=${f[NJobs]}
    survey tell rest
    # On Fedora CoreOS / is an image that is always full; what can fill is below /sysroot.
    [[ -d /sysroot/ostree ]] && root=/sysroot
    node=''
    while read -r id size blocks free mount; do
        # /var is told of where it is another file system.
        [[ $mount == /var && $id == "$node" ]] && continue
        [[ $mount == "$root" ]] && node=$id mount=/
        json=''
        add \" mount "$mount" name "${disks[$mount]}"
        add '' size_bytes $((size * blocks)) used_bytes $((size * (blocks - free)))
        sizes+=", {$json}"
    done < <(exec stat -f -c '%i %S %b %f %n' "$root" /var "${!disks[@]}")
    # shellcheck source=/dev/null
    source /etc/os-release
    cd /proc/sys/kernel || return
    read -r node <hostname
    read -r kernel <osrelease
    read -r boot <random/boot_id
    read -r line </proc/cmdline
    [[ $line =~ \ ostree=([^ ]+) ]] && cd -P "/sysroot${BASH_REMATCH[1]}" && deployment=${PWD##*/}
    cd /
    if [[ -e /run/ostree/staged-deployment ]]; then
        staged=unknown
        [[ $status =~ [0-9]+\.[0-9]{8}[.0-9]+ ]] && staged=${BASH_REMATCH[0]}
    fi
    json=''
    add \" state "$zincati" status "$status" staged "$staged"
    body="{$json}"
    json=''
    clock
    add '' version 1 uptime_seconds "$uptime" update "$body" units "[${told_units:2}]" failed "[${failed:2}]" \
        jobs "[${jobs:2}]" disks "[${sizes:2}]"
    add \" node "$node" os "${PRETTY_NAME%% [0-9]*}" release "${OSTREE_VERSION:-$VERSION_ID}" \
        deployment "${deployment%.*}" kernel "$kernel" boot_id "$boot" system "$system"
    body="{$json}"
    # The more time it takes, the less often.
    [[ $wanted && $inspecting != activating ]] && ((now < notes[at] || now - notes[at] > 300 + notes[took])) &&
        systemctl start --no-block fleet-report-inspect.service
}

if [[ $5 ]]; then
    clock
    begin=$now
    survey look inspect
    clock
    notes[at]=$now notes[took]=$((now - begin))
    declare -p notes >"$folder/notes.new"
    mv "$folder/notes.new" "$folder/notes"
    exit
fi

read -r -t 10 -n 2048 method target _ || exit
for ((count = 0; count < 100; count++)); do
    ((SECONDS < 15)) && IFS= read -r -t 5 -n 4096 line || exit
    [[ ${line%$'\r'} ]] || break
done
[[ $method == GET ]] || {
    answer '405 Method Not Allowed' ''
    exit
}
[[ $target == / ]] || {
    answer '404 Not Found' ''
    exit
}
# Whether there is an answer that is whole and not two seconds old.
kept() {
    clock
    [[ -f $folder/answer ]] && {
        read -r at
        IFS= read -r body
    } <"$folder/answer" && ((now >= at && now - at < 200))
}
if ! kept; then
    # One gathers at a time; those who wait for it take what it gathered.
    exec 9>"$folder/lock"
    flock -w 60 9 || exit
    if ! kept; then
        document </dev/null
        clock
        printf '%s\n' $now "$body" >"$folder/answer"
    fi
fi
answer '200 OK' "$body"$'\n'
