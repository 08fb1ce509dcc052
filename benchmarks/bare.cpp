// bare PROGRAM INPUT WARMUP RUNS DIM...: what kdbench's runner is compared with. The plainest loop around execute() of
// one method with one float32 input, on one thread; prints the median of its times in nanoseconds.
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor_ptr.h>
#include <executorch/runtime/platform/runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

using executorch::runtime::Error;
using executorch::runtime::EValue;

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  executorch::runtime::runtime_init();
  executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(1);
  const int warmup = std::atoi(argv[3]), runs = std::atoi(argv[4]);
  std::vector<int32_t> shape;
  size_t count = 1;
  for (int i = 5; i < argc; ++i) shape.push_back(std::atoi(argv[i])), count *= shape.back();
  std::vector<float> values(count);
  std::ifstream(argv[2], std::ios::binary).read(reinterpret_cast<char*>(values.data()), count * sizeof(float));
  const auto tensor = executorch::extension::make_tensor_ptr(shape, values.data());

  executorch::extension::Module module(argv[1], executorch::extension::Module::LoadMode::Mmap);
  if (module.load_method("forward") != Error::Ok) return 3;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  executorch::runtime::Method* method = *module.method("forward");
#pragma GCC diagnostic pop

  std::vector<long long> times;
  for (int i = 0; i < warmup + runs; ++i) {
    if (method->set_input(EValue(*tensor), 0) != Error::Ok) return 4;
    const auto start = std::chrono::steady_clock::now();
    const Error error = method->execute();
    const auto end = std::chrono::steady_clock::now();
    if (error != Error::Ok) return 5;
    if (i >= warmup) times.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(end - start).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%.1f\n", (times[(runs - 1) / 2] + times[runs / 2]) / 2.0);
}
