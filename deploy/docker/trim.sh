#!/bin/sh
# Removes files from site-packages that no run, notebook or worker uses; sizes in MB on x86-64.
set -eu
cd "$1"

# 300  headers and sources for C++ builds
rm -rf tensorflow/include tensorflow/xla_aot_runtime_src openvino/include pyarrow/include pyarrow/src
#  60  libclang, which TensorFlow requires but never imports
rm -rf clang
# 230  debug symbols of TensorFlow; stripping libraries that were patched for a wheel may break them
[ ! -d tensorflow ] || find tensorflow -name '*.so*' -size +1M -exec strip --strip-unneeded {} +
#  25  TensorFlow's quantiser for StableHLO
rm -f tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so
#  60  OpenVINO for GPUs and NPUs, which are not available in a container
rm -f openvino/libs/libopenvino_intel_gpu_plugin.so openvino/libs/libopenvino_intel_npu_plugin.so \
    openvino/libs/cache.json
#  35  Arrow Flight, and duplicates of libraries (wheels cannot contain links)
rm -f pyarrow/libarrow_flight.so.* pyarrow/libarrow_python_flight.so* pyarrow/_flight.*.so \
    pyarrow/libarrow_python.so pyarrow/libarrow_python_parquet_encryption.so \
    pyarrow/*.so.*.*.*
#  60  the Scala shell of Spark Connect
rm -rf pyspark/jars/connect-repl
#  60  RocksDB for other platforms
[ ! -d pyspark ] || zip --quiet --delete pyspark/jars/rocksdbjni-*.jar '*.dll' '*.jnilib' '*linux32*' '*ppc64*' '*s390x*' \
    '*riscv*' '*musl*'
#  30  locale data for 1,000 languages; JupyterLab is used in English
[ ! -d babel ] || find babel/locale-data -name '*.dat' ! -name 'root.dat' ! -name 'en*.dat' -delete
#  60  tests of the packages
find . -depth -type d \( -name tests -o -name test \) \
    -not -path './numpy/*' -not -path './tensorflow/*' -not -path './keras/*' \
    -not -path './pyspark/*' -exec rm -rf {} +
