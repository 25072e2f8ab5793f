#!/bin/bash
# Answers one HTTP request: 200 if this node's agent is well, 503 and why if not.
#
# A server is well when it answers and no cluster has formed yet, or else when the cluster has a leader, this server is one
# of the raft peers, and autopilot calls it healthy. So the first servers of a new cluster do not wait for the others, and
# one that comes back has to be back indeed. A client is well when it knows servers.
set -u
role=${HOSTNAME%-*} # server-0 is a server
certificate=/etc/fleet/secrets/$role-certificate

answer() { # STATUS TEXT
    local line
    while read -r -t 2 line && [[ -n ${line%$'\r'} ]]; do :; done
    printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n' \
        "$1" $((${#2} + 1)) "$2"
    exit
}

# ask PATH: what the agent says. The token goes by standard input: arguments are for everybody to see.
ask() {
    printf 'header = "X-Nomad-Token: %s"\n' "$(cat /etc/fleet/secrets/acl-token 2>/dev/null)" |
        curl --silent --show-error --max-time 4 --cacert "$certificate" --cert "$certificate" --config - \
            "${@:2}" "https://127.0.0.1:4646/v1/$1"
}

if [[ $role == client ]]; then
    ask "agent/health?type=client" --fail >/dev/null && answer "200 OK" "the client knows servers"
    answer "503 Service Unavailable" "the client knows no servers"
fi

peers=$(ask "status/peers?stale" --fail) || answer "503 Service Unavailable" "the agent does not answer"
[[ $(jq length <<<"$peers") == 0 ]] && answer "200 OK" "no cluster has formed yet"
leader=$(ask "status/leader?stale" --fail | jq --raw-output .)
[[ -n $leader ]] || answer "503 Service Unavailable" "the cluster has no leader"
own=$(ip -json -4 address | jq '[.[].addr_info[].local]')
jq --exit-status --argjson own "$own" 'any(.[]; sub(":[0-9]+$"; "") as $peer | any($own[]; . == $peer))' \
    <<<"$peers" >/dev/null || answer "503 Service Unavailable" "this server is no raft peer: $peers"
# Until ACLs are bootstrapped, nobody may ask.
health=$(ask operator/autopilot/health)
if jq --exit-status .Servers <<<"$health" >/dev/null 2>&1; then
    jq --exit-status --argjson own "$own" \
        'any(.Servers[]; .Healthy and (.Address | sub(":[0-9]+$"; "")) as $peer | any($own[]; . == $peer))' \
        <<<"$health" >/dev/null || answer "503 Service Unavailable" "autopilot does not call this server healthy"
fi
answer "200 OK" "one of $(jq length <<<"$peers") peers, led by $leader"
