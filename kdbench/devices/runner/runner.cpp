// The native runner: one process, one job (job.h), no Python and no libtorch.
//
//   runner JOB_FOLDER     reads job.txt there, writes result.json and raw arrays beside it
//
// Times are of execute() alone, by the steady clock; inputs are set before each one. On failure: one line on standard
// error, an exit code of job.h, and no result.json.
#include "job.h"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor_ptr.h>
#include <executorch/runtime/platform/runtime.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <sstream>

#include <sys/resource.h>
#ifdef __linux__
#include <sched.h>
#endif

// The wheel ships this class without its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
  size_t get_thread_count() const;
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace kdbench {

namespace et = executorch::runtime;
using executorch::aten::ScalarType;
using executorch::extension::Module;
using Clock = std::chrono::steady_clock;

struct DType {
  const char* name;
  ScalarType type;
  size_t bytes;
};
constexpr DType kDTypes[] = {
    {"uint8", ScalarType::Byte, 1},   {"int8", ScalarType::Char, 1},     {"int16", ScalarType::Short, 2},
    {"int32", ScalarType::Int, 4},    {"int64", ScalarType::Long, 8},    {"float16", ScalarType::Half, 2},
    {"float32", ScalarType::Float, 4}, {"float64", ScalarType::Double, 8}, {"bool", ScalarType::Bool, 1},
    {"bfloat16", ScalarType::BFloat16, 2},
};

const DType& dtype_named(const std::string& name) {
  for (const DType& d : kDTypes)
    if (name == d.name) return d;
  throw Failure(kBadJob, "unknown dtype '" + name + "'");
}
std::string dtype_name(ScalarType type) {
  for (const DType& d : kDTypes)
    if (type == d.type) return d.name;
  return "dtype " + std::to_string(static_cast<int>(type));
}

template <typename Values>
std::string shown(const Values& values) {
  std::ostringstream out;
  out << '[';
  const char* comma = "";
  for (const auto& value : values) out << comma << value, comma = ", ";
  return out.str() + "]";
}

[[noreturn]] void fail(et::Error error, Exit code, const std::string& what) {
  const bool memory = error == et::Error::MemoryAllocationFailed || error == et::Error::DelegateMemoryAllocationFailed;
  throw Failure(memory ? kNoMemory : code, what + ": " + et::to_string(error));
}
void check(et::Error error, Exit code, const std::string& what) {
  if (error != et::Error::Ok) fail(error, code, what);
}

int64_t since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

// SplitMix64 (Steele, Lea and Flood 2014): the order of blocks follows from the seed on every machine.
struct Generator {
  uint64_t state;
  uint64_t next() {
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  void shuffle(std::vector<size_t>& order) {  // Fisher and Yates
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next() % i]);
  }
};

uint64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return static_cast<uint64_t>(usage.ru_maxrss);
#else
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
#endif
}

struct Loaded {
  std::unique_ptr<Module> module;
  et::Method* method = nullptr;
  int64_t load_program_ns = 0, load_method_ns = 0, first_ns = -1;
  std::vector<int64_t> samples;
};

struct Output {
  std::string dtype;
  std::vector<int32_t> shape;
  std::string file;
};

class Runner {
 public:
  Runner(Job job, std::string folder) : job_(std::move(job)), folder_(std::move(folder)), loaded_(job_.programs.size()) {}

  void run() {
    pin();
    auto* pool = executorch::extension::threadpool::get_threadpool();
    if (pool == nullptr || !pool->_unsafe_reset_threadpool(job_.threads))
      throw Failure(kNotRun, "cannot set " + std::to_string(job_.threads) + " threads");
    threads_ = pool->get_thread_count();
    for (const Step& step : job_.steps) {
      switch (step.kind) {
        case Step::kLoad: load(step.program); break;
        case Step::kInterleave: interleave(step); break;
        case Step::kPredict: predict(step.program, job_.inputs[step.input]); break;
        case Step::kMemory: memory_[step.program] = peak_rss_bytes(); break;
      }
    }
    write();
  }

 private:
  void pin() {
#ifdef __linux__
    if (job_.cpu >= 0) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(job_.cpu, &set);
      if (sched_setaffinity(0, sizeof set, &set) == 0) pinned_ = job_.cpu;
    }
#endif
  }

  std::string name(size_t program) const { return "program " + job_.programs[program].path; }

  Loaded& ready(size_t program) {
    if (loaded_[program].method == nullptr) throw Failure(kBadJob, name(program) + " is used before it is loaded");
    return loaded_[program];
  }

  void load(size_t program) {
    const ProgramSpec& spec = job_.programs[program];
    Loaded& loaded = loaded_[program];
    auto start = Clock::now();
    loaded.module = std::make_unique<Module>(spec.path, Module::LoadMode::Mmap);
    check(loaded.module->load(), kBadProgram, "cannot load " + name(program));
    loaded.load_program_ns = since(start);
    const auto names = loaded.module->method_names();
    if (!names.ok()) fail(names.error(), kBadProgram, "cannot read the methods of " + name(program));
    if (names->count(spec.method) == 0) {
      const std::vector<std::string> sorted(names->begin(), names->end());
      throw Failure(kBadInput, name(program) + " has no method '" + spec.method + "'; it has " + shown(sorted));
    }
    start = Clock::now();
    check(loaded.module->load_method(spec.method), kBadProgram, "cannot load method '" + spec.method + "' of " + name(program));
    loaded.load_method_ns = since(start);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    const auto method = loaded.module->method(spec.method);  // the only way to set inputs and execute apart
#pragma GCC diagnostic pop
    if (!method.ok()) fail(method.error(), kBadProgram, "cannot use method '" + spec.method + "' of " + name(program));
    loaded.method = *method;
  }

  // Refuses what the method would misread, with words of its own.
  void match(size_t program, const Input& input) {
    const auto meta = ready(program).method->method_meta();
    if (meta.num_inputs() != input.arrays.size())
      throw Failure(kBadInput, name(program) + " has " + std::to_string(meta.num_inputs()) + " inputs, found " +
                                   std::to_string(input.arrays.size()));
    for (size_t i = 0; i < input.arrays.size(); ++i) {
      const Array& array = input.arrays[i];
      const auto info = meta.input_tensor_meta(i);
      const std::string place = "input " + std::to_string(i) + " of " + name(program);
      if (!info.ok()) throw Failure(kBadInput, place + " is not a tensor");
      const DType& dtype = dtype_named(array.dtype);
      if (dtype.type != info->scalar_type())
        throw Failure(kBadInput, place + " is " + dtype_name(info->scalar_type()) + ", found " + array.dtype);
      size_t bytes = dtype.bytes;
      for (const int32_t size : array.shape) bytes *= static_cast<size_t>(size);
      if (bytes != array.item_bytes)
        throw Failure(kBadJob, place + ": " + std::to_string(array.item_bytes) + " bytes an item for shape " + shown(array.shape));
      // A dynamic dimension is planned for its largest size.
      const auto sizes = info->sizes();
      bool fits = sizes.size() == array.shape.size();
      for (size_t d = 0; fits && d < sizes.size(); ++d) fits = array.shape[d] <= sizes[d];
      if (!fits) throw Failure(kBadInput, place + " has shape " + shown(sizes) + ", found " + shown(array.shape));
    }
  }

  // One item's inputs, pointing into the array.
  std::vector<executorch::extension::TensorPtr> item(const Input& input, size_t index) {
    std::vector<executorch::extension::TensorPtr> tensors;
    for (const Array& array : input.arrays)
      tensors.push_back(executorch::extension::make_tensor_ptr(
          array.shape, const_cast<char*>(array.bytes.data()) + index * array.item_bytes, dtype_named(array.dtype).type));
    return tensors;
  }

  void set(size_t program, const std::vector<executorch::extension::TensorPtr>& tensors) {
    for (size_t i = 0; i < tensors.size(); ++i)
      check(loaded_[program].method->set_input(et::EValue(*tensors[i]), i), kBadInput,
            "cannot set input " + std::to_string(i) + " of " + name(program));
  }

  int64_t execute(size_t program) {
    et::Method& method = *loaded_[program].method;
    const auto start = Clock::now();
    const et::Error error = method.execute();
    const int64_t ns = since(start);
    check(error, kNotRun, "cannot run " + name(program));
    return ns;
  }

  void interleave(const Step& step) {
    struct Course {
      size_t program;
      std::vector<std::vector<executorch::extension::TensorPtr>> items;
      size_t turn = 0;
      int64_t spent_ns = 0;
    };
    std::vector<Course> courses;
    for (const Timed& timed : step.timed) {
      const Input& input = job_.inputs[timed.input];
      match(timed.program, input);
      Course course{timed.program, {}};
      for (size_t i = 0; i < input.items; ++i) course.items.push_back(item(input, i));
      courses.push_back(std::move(course));
    }
    const auto once = [&](Course& course) {
      set(course.program, course.items[course.turn++ % course.items.size()]);
      return execute(course.program);
    };
    for (Course& course : courses) {
      Loaded& loaded = ready(course.program);
      if (loaded.first_ns < 0) loaded.first_ns = once(course);
      int64_t warm = 0;
      for (uint64_t runs = 0; runs < step.warmup_runs || static_cast<uint64_t>(warm) < step.warmup_ns; ++runs) {
        warm += once(course);
        if (static_cast<uint64_t>(warm) >= step.max_ns) break;
      }
      loaded.samples.reserve(loaded.samples.size() + step.min_runs + 65536);  // keeps growth out of nearly all rounds
    }
    Generator generator{step.seed};
    std::vector<size_t> order(courses.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t active = courses.size(); active > 0;) {
      generator.shuffle(order);
      for (const size_t at : order) {
        Course& course = courses[at];
        std::vector<int64_t>& samples = loaded_[course.program].samples;
        const auto done = [&] {
          const auto spent = static_cast<uint64_t>(course.spent_ns);
          return (samples.size() >= step.min_runs && spent >= step.min_ns) || spent >= step.max_ns;
        };
        if (done()) continue;
        int64_t block = 0;
        do {
          const int64_t ns = once(course);
          samples.push_back(ns);
          block += ns;
        } while (static_cast<uint64_t>(block) < step.block_ns);
        course.spent_ns += block;
        if (done()) --active;
      }
    }
  }

  void predict(size_t program, const Input& input) {
    match(program, input);
    const et::Method& method = *ready(program).method;
    std::vector<std::ofstream> files;
    std::vector<Output>& outputs = outputs_[program];
    for (size_t i = 0; i < input.items; ++i) {
      set(program, item(input, i));
      execute(program);
      for (size_t o = 0; o < method.outputs_size(); ++o) {
        const et::EValue& value = method.get_output(o);
        if (!value.isTensor()) throw Failure(kBadInput, "output " + std::to_string(o) + " of " + name(program) + " is not a tensor");
        const auto tensor = value.toTensor();
        const std::vector<int32_t> shape(tensor.sizes().begin(), tensor.sizes().end());
        if (i == 0) {
          const std::string file = "output-" + std::to_string(program) + "-" + std::to_string(o) + ".bin";
          outputs.push_back({dtype_name(tensor.scalar_type()), shape, file});
          files.emplace_back(folder_ + "/" + file, std::ios::binary);
        }
        if (shape != outputs[o].shape)
          throw Failure(kNotRun, "output " + std::to_string(o) + " of " + name(program) + " changes its shape from item to item");
        files[o].write(static_cast<const char*>(tensor.const_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
      }
    }
    for (std::ofstream& file : files)
      if (!file.flush()) throw Failure(kNotWritten, "cannot write outputs into " + folder_);
  }

  void write() {
    std::ostringstream json;
    json << "{\"version\": 1, \"threads\": " << threads_ << ", \"pinned\": " << pinned_ << ", \"programs\": [";
    for (size_t p = 0; p < loaded_.size(); ++p) {
      const Loaded& loaded = loaded_[p];
      const std::string file = "samples-" + std::to_string(p) + ".bin";
      std::ofstream samples(folder_ + "/" + file, std::ios::binary);
      samples.write(reinterpret_cast<const char*>(loaded.samples.data()),
                    static_cast<std::streamsize>(loaded.samples.size() * sizeof(int64_t)));
      if (!samples.flush()) throw Failure(kNotWritten, "cannot write samples into " + folder_);
      json << (p ? ", " : "") << "{\"loaded\": " << (loaded.method ? "true" : "false")
           << ", \"load_program_ns\": " << loaded.load_program_ns << ", \"load_method_ns\": " << loaded.load_method_ns
           << ", \"first_ns\": " << loaded.first_ns << ", \"samples\": \"" << file << "\", \"runs\": " << loaded.samples.size()
           << ", \"outputs\": [";
      const std::vector<Output>& outputs = outputs_[p];
      for (size_t o = 0; o < outputs.size(); ++o)
        json << (o ? ", " : "") << "{\"dtype\": \"" << outputs[o].dtype << "\", \"shape\": " << shown(outputs[o].shape)
             << ", \"file\": \"" << outputs[o].file << "\"}";
      json << "]}";
    }
    json << "], \"memory\": {";
    const char* comma = "";
    for (const auto& [index, bytes] : memory_) json << comma << '"' << index << "\": " << bytes, comma = ", ";
    json << "}}\n";
    std::ofstream file(folder_ + "/result.json");
    file << json.str();
    if (!file.flush()) throw Failure(kNotWritten, "cannot write " + folder_ + "/result.json");
  }

  Job job_;
  std::string folder_;
  std::vector<Loaded> loaded_;
  std::map<size_t, std::vector<Output>> outputs_;
  std::map<size_t, uint64_t> memory_;
  size_t threads_ = 0;
  int pinned_ = -1;
};

}  // namespace kdbench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s JOB_FOLDER\n", argv[0]);
    return kdbench::kBadJob;
  }
  try {
    executorch::runtime::runtime_init();
    const std::string folder = argv[1];
    kdbench::Runner(kdbench::read_job(folder + "/job.txt"), folder).run();
    return kdbench::kOk;
  } catch (const kdbench::Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return failure.code;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "out of memory\n");
    return kdbench::kNoMemory;
  }
}
