// The native runner: one process, one job (job.h), no Python and no libtorch.
//
//   runner JOB_FOLDER     reads job.txt there, writes result.json and raw arrays beside it (results.h)
//   runner --version      says which jobs it reads and which ExecuTorch is in it
//
// Times are of execute() alone, by the steady clock; inputs are set before each one. On failure: one line on standard
// error, an exit code of tensors.h, and no result.json.
#include <executorch/extension/module/module.h>
#include <executorch/runtime/platform/runtime.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <set>

#include "feed.h"
#include "job.h"
#include "order.h"
#include "pace.h"
#include "process.h"
#include "results.h"

namespace kdbench {

using executorch::extension::Module;

struct Loaded {
  std::unique_ptr<Module> module;
  et::Method* method = nullptr;
};

class Runner {
 public:
  Runner(Job job, std::string folder) : job_(std::move(job)), folder_(std::move(folder)), loaded_(job_.programs.size()) {
    results_.programs.resize(job_.programs.size());
  }

  void run() {
    results_.pinned = pin(job_.cpu);
    results_.threads = set_threads(job_.threads);
    for (const Step& step : job_.steps) {
      switch (step.kind) {
        case Step::kLoad: load(step.program); break;
        case Step::kInterleave: interleave(step); break;
        case Step::kPace: paced(step); break;
        case Step::kPredict: predict(step.program, job_.inputs[step.input]); break;
        case Step::kMemory:
          results_.resident[step.memory] = resident_bytes();
          results_.memory[step.memory] = peak_rss_bytes();
          break;
      }
    }
    write_results(results_, folder_);
  }

 private:
  std::string name(size_t program) const { return "program " + job_.programs[program].path; }

  et::Method& ready(size_t program) {
    if (loaded_[program].method == nullptr) throw Failure(kBadJob, name(program) + " is used before it is loaded");
    return *loaded_[program].method;
  }

  void load(size_t program) {
    const ProgramSpec& spec = job_.programs[program];
    Measured& measured = results_.programs[program];
    Loaded& loaded = loaded_[program] = {};
    auto start = Clock::now();
    loaded.module = std::make_unique<Module>(spec.path, Module::LoadMode::Mmap);
    // The full check takes about a microsecond and turns most broken files from a crash into an error.
    et::Error error = loaded.module->load(et::Program::Verification::InternalConsistency);
    measured.load_program_ns = since(start);
    if (error != et::Error::Ok) fail(error, kBadProgram, "cannot load " + name(program));
    const auto names = loaded.module->method_names();
    if (!names.ok()) fail(names.error(), kBadProgram, "cannot read the methods of " + name(program));
    if (names->count(spec.method) == 0)
      throw Failure(kBadInput, name(program) + " has no method '" + spec.method + "'; it has " +
                                   shown(std::set<std::string>(names->begin(), names->end())));
    start = Clock::now();
    error = loaded.module->load_method(spec.method);
    measured.load_method_ns = since(start);
    const std::string what = "method '" + spec.method + "' of " + name(program);
    if (error != et::Error::Ok) fail(error, kBadProgram, "cannot load " + what);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    const auto method = loaded.module->method(spec.method);  // the only way to set inputs and execute apart
#pragma GCC diagnostic pop
    if (!method.ok()) fail(method.error(), kBadProgram, "cannot load " + what);
    loaded.method = *method;
    measured.loaded = true;
  }

  int64_t execute(size_t program) {
    et::Method& method = *loaded_[program].method;
    Measured& measured = results_.programs[program];
    const auto start = Clock::now();
    const et::Error error = executed(method);
    const int64_t ns = since(start);
    if (error != et::Error::Ok) fail(error, kNotRun, "cannot run " + name(program));
    if (measured.first_ns < 0) measured.first_ns = ns;
    return ns;
  }

  // A program and the items that it is fed in turn.
  struct Course {
    size_t program;
    std::vector<Item> items;
    size_t turn = 0;
    uint64_t runs = 0, spent_ns = 0;
    bool done = false;
  };

  Course course(size_t program, const Input& input) {
    const et::Method& method = ready(program);
    match(method, input, job_.programs[program].path);
    Course made{program, {}};
    for (size_t i = 0; i < input.items; ++i) made.items.push_back(item(method, input, i));
    return made;
  }

  uint64_t once(Course& course) {
    const Item& next = course.items[course.turn++ % course.items.size()];
    set(*loaded_[course.program].method, next, job_.programs[course.program].path);
    return static_cast<uint64_t>(execute(course.program));
  }

  void paced(const Step& step) {
    Course course = this->course(step.program, job_.inputs[step.input]);
    Measured& measured = results_.programs[step.program];
    if (measured.first_ns < 0) once(course);
    pace(step.period_ns, step.runs, step.max_ns, measured.series, [&] { return once(course); });
  }

  void interleave(const Step& step) {
    std::vector<Course> courses;
    for (const Timed& timed : step.timed) courses.push_back(course(timed.program, job_.inputs[timed.input]));
    for (Course& course : courses) {
      Measured& measured = results_.programs[course.program];
      if (measured.first_ns < 0) once(course);
      uint64_t runs = 0, warm_ns = 0;
      while ((runs < step.warmup_runs || warm_ns < step.warmup_ns) && warm_ns < step.max_ns) warm_ns += once(course), ++runs;
      // Keeps growth out of nearly all rounds; what is reserved and not used takes no memory.
      measured.samples.reserve(measured.samples.size() + std::min<uint64_t>(step.min_runs, 1 << 20) + 65536);
    }
    Generator generator{step.seed};
    std::vector<size_t> order(courses.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t active = courses.size(); active > 0;) {
      generator.shuffle(order);
      for (const size_t at : order) {
        Course& course = courses[at];
        if (course.done) continue;
        results_.blocks.push_back(course.program);
        std::vector<int64_t>& samples = results_.programs[course.program].samples;
        uint64_t block_ns = 0;
        do {
          const uint64_t ns = once(course);
          samples.push_back(static_cast<int64_t>(ns));
          ++course.runs;
          block_ns += ns;
        } while (block_ns < step.block_ns);
        course.spent_ns += block_ns;
        course.done = (course.runs >= step.min_runs && course.spent_ns >= step.min_ns) || course.spent_ns >= step.max_ns;
        if (course.done) --active;
      }
    }
  }

  void predict(size_t program, const Input& input) {
    et::Method& method = ready(program);
    match(method, input, job_.programs[program].path);
    std::vector<std::ofstream> files;
    std::vector<Output>& outputs = results_.programs[program].outputs;
    std::vector<char> c_order;
    for (size_t i = 0; i < input.items; ++i) {
      const Item fed = item(method, input, i);
      set(method, fed, job_.programs[program].path);
      execute(program);
      for (size_t o = 0; o < method.outputs_size(); ++o) {
        const std::string place = "output " + std::to_string(o) + " of " + name(program);
        const et::EValue& value = method.get_output(o);
        if (!value.isTensor()) throw Failure(kBadInput, place + " is not a tensor");
        const auto tensor = value.toTensor();
        const std::vector<int32_t> shape(tensor.sizes().begin(), tensor.sizes().end());
        const DType* dtype = dtype_of(tensor.scalar_type());
        if (dtype == nullptr) throw Failure(kBadInput, place + " is " + dtype_name(tensor.scalar_type()));
        if (i == 0) {
          const std::string file = "output-" + std::to_string(program) + "-" + std::to_string(o) + ".bin";
          outputs.push_back({dtype->name, shape, file});
          files.emplace_back(folder_ + "/" + file, std::ios::binary);
        }
        if (shape != outputs[o].shape) throw Failure(kNotRun, place + " changes its shape from item to item");
        const char* bytes = static_cast<const char*>(tensor.const_data_ptr());
        if (!is_c_order(tensor.dim_order())) {
          c_order.resize(tensor.nbytes());
          const std::vector<size_t> strides(tensor.strides().begin(), tensor.strides().end());
          relayout(c_order.data(), bytes, shape, strides, dtype->bytes, false);
          bytes = c_order.data();
        }
        files[o].write(bytes, static_cast<std::streamsize>(tensor.nbytes()));
      }
    }
    for (std::ofstream& file : files) flush(file);
  }

  Job job_;
  std::string folder_;
  std::vector<Loaded> loaded_;
  Results results_;
};

}  // namespace kdbench

int main(int argc, char** argv) {
  return kdbench::ended(argc, argv, [](const std::string& folder) -> int {
    kdbench::log_only_errors();
    executorch::runtime::runtime_init();
    if (folder == "--version") return std::puts(kdbench::kVersion) < 0 ? kdbench::kNotWritten : kdbench::kOk;
    kdbench::Runner(kdbench::read_job(folder + "/job.txt"), folder).run();
    return kdbench::kOk;
  });
}
