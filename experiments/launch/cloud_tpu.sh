#!/bin/bash
# One run on a Cloud TPU slice of several machines, from any machine with gcloud. Step by step:
#
#   export PROJECT=... ZONE=us-west4-a NAME=catdog SHARED=10.0.0.2:/share
#   experiments/launch/cloud_tpu.sh create     # queue for a slice, and wait until it is there
#   experiments/launch/cloud_tpu.sh install    # this repository and its packages, on all machines
#   experiments/launch/cloud_tpu.sh run --models=cnn --num_members=4096 --name=tpu
#   experiments/launch/cloud_tpu.sh fetch      # results to ./runs
#   experiments/launch/cloud_tpu.sh delete     # or it is paid for until someone does
#
# `again` in place of create, install and run (flags as for run) does all three, as often as the
# slice is pre-empted: the same flags go on where the last one left the run. Then fetch, delete.
#
# SHARED is an NFS export in the same network (Filestore, for instance): the machines of a slice
# have no disk in common, and a bucket does not do (a run folder needs locks and atomic renames).
# Which slice: python -m experiments.fit_check --topology=v5e:4x4 ... says what fits into it.
set -euo pipefail

: "${PROJECT:?name of the Google Cloud project}" "${ZONE:?like us-west4-a}"
: "${SHARED:?NFS export of the results, like 10.0.0.2:/share}"
NAME=${NAME:-catdog}
TYPE=${TYPE:-v5litepod-16}          # four machines of four chips
VERSION=${VERSION:-v2-alpha-tpuv5-lite}
REPOSITORY=${REPOSITORY:-$(git remote get-url origin 2> /dev/null || true)}

tpus() { gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE"; }
everywhere() { tpus tpu-vm ssh "$NAME" --worker=all --command="$1"; }
ask() { tpus "$1" describe "$NAME" --format="$2" 2> /dev/null || true; }
state() { ask queued-resources "value(state.state)"; } # of the request
health() { ask tpu-vm "value(state)"; }                # of the machines

create() { # --spot: cheaper, and pre-empted when others need it; leave it out to keep the slice
  tpus queued-resources create "$NAME" --node-id="$NAME" --accelerator-type="$TYPE" \
    --runtime-version="$VERSION" --spot
  local now
  until now=$(state) && [ "$now" = ACTIVE ]; do
    case $now in
      "" | FAILED | SUSPEND*) echo "no slice: ${now:-no such request}" >&2; return 1 ;;
    esac
    sleep 30
  done
}

install() {
  : "${REPOSITORY:?address that git clones this repository from}"
  everywhere "
    set -e
    # At first boot the machine updates itself, and holds apt's locks.
    timeout 300 bash -c 'until sudo apt-get -q update; do sleep 5; done'
    sudo apt-get -o DPkg::Lock::Timeout=300 install -y -q nfs-common python3-venv
    sudo mkdir -p /shared
    mountpoint -q /shared || sudo mount -t nfs $SHARED /shared
    sudo chmod 1777 /shared
    [ -d catdog_jax ] || git clone --depth=1 '$REPOSITORY' catdog_jax
    # The image's own Python may be 3.10, and 3.11 is needed: uv brings one.
    [ -d uv ] || { python3 -m venv uv && uv/bin/pip install --quiet uv; }
    [ -d venv ] || uv/bin/uv venv --quiet --seed --python=3.12 venv
    venv/bin/pip install --quiet --editable 'catdog_jax[tpu]'
  "
}

run() { # the machines find each other by themselves; each trains waves of its own on its chips
  local flags
  flags=$(printf ' %q' --out_dir=/shared/runs --compile_cache=/shared/compiled "$@")
  everywhere "cd catdog_jax && exec ../venv/bin/python -m experiments.init_convergence$flags"
}

again() { # nobody asks these machines to save before they go: up to 30 s of training are lost
  local status
  while true; do
    "$0" create
    status=0
    { "$0" install && "$0" run "$@"; } || status=$?
    [ $status -eq 0 ] && return
    sleep 60 # so that a pre-emption is known
    if [ "$(state)" = ACTIVE ] && [ "$(health)" = READY ]; then
      return $status # a wrong flag, a full disk: it was said
    fi
    echo "the slice is gone; asking for another one"
    "$0" delete
  done
}

fetch() { tpus tpu-vm scp --recurse --worker=0 "$NAME:/shared/runs" .; }

delete() { tpus queued-resources delete "$NAME" --force --quiet; }

case ${1:-} in
  create | install | run | again | fetch | delete) "$@" ;;
  *) echo "usage: $0 create|install|run|again|fetch|delete, see its first lines" >&2; exit 2 ;;
esac
