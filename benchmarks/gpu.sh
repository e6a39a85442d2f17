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
  # Decoded once, before many runs ask for it.
  stage images 120 "$python" -c 'import sys; from sparse_training import data; print(data.load("cifar10", sys.argv[1]))' \
    "$images"
}

share_gpu() { # several processes at once on the GPU, instead of one after another
  [ "$device" = cuda ] && command -v nvidia-cuda-mps-control >/dev/null || return
  export CUDA_MPS_PIPE_DIRECTORY=$state/mps CUDA_MPS_LOG_DIRECTORY=$state/mps-log
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
  nvidia-cuda-mps-control -d && trap 'echo quit | nvidia-cuda-mps-control' EXIT
}

table() { # table SECONDS: train until then, and print what is finished and, marked so, what is not
  local seconds=$1 ledger=$state/cifar10/ledger.jsonl
  # shellcheck disable=SC2206
  local these=(campaigns/cifar10-resnet20.toml --data "$images" --out "$state/cifar10" --set engine.device=$device $engine)
  if [ "$seconds" -gt 30 ]; then
    "$python" -m sparse_training sweep "${these[@]}" --keep last --workers "$workers" --until "$((seconds - 20))s"
  fi
  {
    if [ -e "$ledger" ]; then "$python" -m sparse_training sweep table "$ledger"; fi
    "$python" -m sparse_training sweep status "${these[@]}"
  } | tee "$out/cifar10-resnet20-$device.md"
  if [ -e "$ledger" ]; then cp "$ledger" "$out/cifar10-resnet20-$device.jsonl"; fi
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
  local training=("$python" -m benchmarks.training --models resnet20 --out "$out")
  if [ "$device" = cpu ]; then
    stage step-times 120 "${training[@]}"
    return
  fi
  stage step-times 40 "${training[@]}" --modes graph eager --rounds 40 \
    --precisions float32 tf32 bfloat16 "bfloat16, channels last"
  stage together 40 "${training[@]}" --together 1 5 10 --precisions "bfloat16, channels last" --name together
  stage hessian-products 40 "$python" -m benchmarks.products --out "$out" --graphs forward rebuilt kept
  tests 45 "goes_on_in_another_process" resume
  stage dynamics-cuda 45 "$python" -m benchmarks.dynamics --grid 8192 --rounds 3 --solvers "dynamics, fused, cuda"
  stage dynamics-cpu 15 "$python" -m benchmarks.dynamics --grid 1024 --rounds 2 --solvers "dynamics, fused"
  stage compiled-steps 60 "${training[@]}" --modes "compiled graph" --variants "static mask" Sign-In --rounds 40 \
    --precisions "bfloat16, channels last" --name compiled
  stage compiled-products 30 "$python" -m benchmarks.products --out "$out/compiled" --graphs compiled
}

versions | tee "$out/gpu-versions.txt"
if [ -n "${FIRST_TEN_MINUTES:-}" ]; then
  if [ "$device" = cuda ]; then tests 180 "not goes_on_in_another_process" tests; fi
  share_gpu
  speeds
  unpack
  table "$(left)"
else
  unpack
  share_gpu
  table "$(left)"
  speeds
  if [ "$device" = cuda ]; then tests 180 "not goes_on_in_another_process" tests; fi
fi
