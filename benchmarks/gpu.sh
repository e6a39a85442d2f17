#!/usr/bin/env bash
# CIFAR-10/ResNet-20 on a GPU: dense, random mask, Sign-In and HAM at 80/90/95 % sparsity, then speeds and GPU tests.
# usage: gpu.sh IMAGES [minutes]    a tar of JPEG folders train/CLASS/ and test/CLASS/, or such a folder
#   OUT=results              where results are copied after each stage
#   FIRST_TEN_MINUTES=1      on a machine never seen before: tests and speeds first, the table in the time that is left
#   WORKERS=10 ENGINE="..."  runs at a time, which share the GPU by MPS where it is there, and their engine settings
# State is kept in build/gpu: call again, with the same images, to go on. Without a GPU, three epochs on the CPU.
set -uo pipefail
cd "$(dirname "$0")/.."

images=${1:?a tar file or a folder of images is needed}
end=$(($(date +%s) + ${2:-9} * 60))
out=${OUT:-results}
state=$PWD/build/gpu
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out" "$state/logs"
export XDG_CACHE_HOME=$state/cache

if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then device=cuda; else device=cpu; fi
if [ "$device" = cuda ]; then
  workers=${WORKERS:-10}
  engine=${ENGINE:-engine.graphs=true engine.precision=bfloat16 engine.channels_last=true}
else
  workers=${WORKERS:-0}
  engine="epochs=3 ${ENGINE:-}"
fi

left() { echo $((end - $(date +%s))); }

stage() { # stage NAME SECONDS COMMAND...: within its own limit and what is left; once it has ended well, never again
  local name=$1 limit=$2 code=0
  shift 2
  [ -e "$state/logs/$name.done" ] && return
  if [ "$limit" -gt "$(left)" ]; then limit=$(left); fi
  if [ "$limit" -lt 5 ]; then echo "== $name: no time left"; return; fi
  echo "== $name, at most $limit s"
  timeout --signal INT --kill-after 10 "$limit" "$@" 2>&1 | tee "$state/logs/$name.txt"
  code=${PIPESTATUS[0]}
  case $code in
    0) touch "$state/logs/$name.done" ;;
    124 | 137) echo "== $name: stopped after $limit s; rows that are missing were not measured" | tee -a "$state/logs/$name.txt" ;;
    *) echo "== $name: failed with exit status $code" | tee -a "$state/logs/$name.txt" ;;
  esac
  cp "$state/logs/$name.txt" "$out/gpu-$name.txt"
}

unpack() {
  if [ -f "$images" ]; then
    if [ ! -e "$state/images/.whole" ]; then
      mkdir -p "$state/images" && tar -xf "$images" -C "$state/images" && touch "$state/images/.whole"
    fi
    images=$(dirname "$(find "$state/images" -maxdepth 2 -type d -name train | head -n 1)")
  fi
  stage images 120 "$python" -m sparse_training data cifar10 --root "$images" # decoded once, before many runs ask for it
}

share_gpu() { # several processes at once on the GPU, instead of one after another
  [ "$device" = cuda ] && command -v nvidia-cuda-mps-control >/dev/null || return
  export CUDA_MPS_PIPE_DIRECTORY=$state/mps CUDA_MPS_LOG_DIRECTORY=$state/mps-log
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
  nvidia-cuda-mps-control -d && trap 'echo quit | nvidia-cuda-mps-control' EXIT
}

table() { # table SECONDS: train until then, and print what is finished and, marked so, what is not
  local seconds=$1
  if [ "$seconds" -gt 20 ]; then
    # shellcheck disable=SC2086
    "$python" -m sparse_training sweep campaigns/cifar10-resnet20.toml --data "$images" --out "$state/cifar10" \
      --keep last --workers "$workers" --until "$((seconds - 15))s" --set engine.device=$device $engine
  fi
  "$python" -m benchmarks.gpu_table "$state/cifar10" | tee "$out/cifar10-resnet20-$device.md"
  cp "$state/cifar10/ledger.jsonl" "$out/cifar10-resnet20-$device.jsonl"
}

versions() {
  "$python" -c 'import sys, torch; print("python", sys.version.split()[0], "torch", torch.__version__)'
  if [ "$device" = cuda ]; then nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; fi
}

tests() { # tests SECONDS PYTEST-EXPRESSION NAME
  local many=()
  if "$python" -c 'import xdist' 2>/dev/null; then many=(-n 8); fi
  stage "$3" "$1" "$python" -m pytest -q -p no:cacheprovider "${many[@]}" --show-capture=no -m gpu -k "$2"
}

speeds() {
  local cuda=$1
  stage step-times 120 "$python" -m benchmarks.training --models resnet20 --rounds 40 --out "$out" ${cuda:+--grid}
  if [ "$device" = cuda ]; then
    stage hessian-products 60 "$python" -m benchmarks.products --out "$out"
    tests 60 "goes_on_in_another_process" resume
    stage dynamics-cuda 40 "$python" -m benchmarks.dynamics --grid 8192 --rounds 3 --solvers "dynamics, fused, cuda"
    stage dynamics-cpu 20 "$python" -m benchmarks.dynamics --grid 1024 --rounds 2 --solvers "dynamics, fused"
  fi
}

versions | tee "$out/gpu-versions.txt"
if [ -n "${FIRST_TEN_MINUTES:-}" ]; then
  if [ "$device" = cuda ]; then tests 180 "not goes_on_in_another_process" tests; fi
  speeds "$([ "$device" = cuda ] && echo yes)"
  unpack
  share_gpu
  table "$(left)"
else
  unpack
  share_gpu
  table "$(left)"
  if [ "$device" = cuda ]; then tests 180 "not goes_on_in_another_process" tests; fi
  speeds "$([ "$device" = cuda ] && echo yes)"
fi
