// Traces the operators of an inference for kdbench's plugin of qemu (counter.cpp): which step begins and ends between which
// two marks.
//
//   tracer JOB_FOLDER     reads job.txt there (job.h), writes trace.txt beside it
//
// The job is one program's, with one interleave step: its inferences are run as the runner runs them, but under ExecuTorch's
// event tracer. At each reading the count pauses between two marks, so that what is noted of it is not counted. XNNPACK reads
// the clock when it begins and after each operator, with a tracer or without: the clock that it finds is the one below.
//
// trace.txt: one line a reading, in the order of the plugin's lines, each of which holds what was executed before it.
//
//   begin NAME       an event of ExecuTorch begins
//   end              the last that began and has not ended
//   clock            XNNPACK reads the clock
//   operator NAME    a delegate tells, when all are done, what the next of its operators was
//   done             the inference ends
//
// On failure: one line on standard error and an exit code of tensors.h.
#include <executorch/extension/module/module.h>
#include <executorch/runtime/core/event_tracer.h>
#include <executorch/runtime/platform/runtime.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "feed.h"
#include "job.h"
#include "process.h"

namespace kdbench {

using executorch::aten::Tensor;

FILE* trace = nullptr;
bool counting = false;

// The line of a reading, which ends with the second of its marks. The first is its caller's, before anything is pushed.
__attribute__((noinline)) void note(const char* kind, const char* name) {
  std::fprintf(trace, name ? "%s %s\n" : "%s\n", kind, name);
  mark();
}

// A line of the trace where an inference is counted; nothing anywhere else.
inline void reading(const char* kind, const char* name = nullptr) {
  if (!counting) return;
  mark();
  note(kind, name);
}

__attribute__((noinline)) int told_time(clockid_t clock, timespec* time) noexcept {
  return static_cast<int>(syscall(SYS_clock_gettime, clock, time));
}

__attribute__((noinline)) int note_clock(clockid_t clock, timespec* time) noexcept {
  std::fputs("clock\n", trace);
  const int result = told_time(clock, time);
  mark();
  return result;
}

class Tracer : public et::EventTracer {
 public:
  et::EventTracerEntry start_profiling(const char* name, et::ChainID, et::DebugHandle) override {
    reading("begin", name);
    return {};
  }
  void end_profiling(et::EventTracerEntry) override { reading("end"); }
  et::EventTracerEntry start_profiling_delegate(const char*, et::DelegateDebugIntId) override { return {}; }
  void end_profiling_delegate(et::EventTracerEntry, const void*, size_t) override {}
  void log_profiling_delegate(const char* name, et::DelegateDebugIntId, et_timestamp_t, et_timestamp_t, const void*,
                              size_t) override {
    reading("operator", name ? name : "");
  }

  // What is of no interest here.
  void create_event_block(const char*) override {}
  void track_allocation(et::AllocatorID, size_t) override {}
  et::AllocatorID track_allocator(const char*) override { return 0; }
  et::Result<bool> log_evalue(const et::EValue&, et::LoggedEValueType) override { return false; }
  et::Result<bool> log_intermediate_output_delegate(const char*, et::DelegateDebugIntId, const Tensor&) override {
    return false;
  }
  et::Result<bool> log_intermediate_output_delegate(const char*, et::DelegateDebugIntId,
                                                    const et::ArrayRef<Tensor>) override {
    return false;
  }
  et::Result<bool> log_intermediate_output_delegate(const char*, et::DelegateDebugIntId, const int&) override {
    return false;
  }
  et::Result<bool> log_intermediate_output_delegate(const char*, et::DelegateDebugIntId, const bool&) override {
    return false;
  }
  et::Result<bool> log_intermediate_output_delegate(const char*, et::DelegateDebugIntId, const double&) override {
    return false;
  }
  void set_delegation_intermediate_output_filter(et::EventTracerFilterBase*) override {}
};

// ExecuTorch's own clock, so that what is left of readings is XNNPACK's.
et_timestamp_t no_ticks() { return 0; }

void run(const Job& job, const std::string& folder) {
  if (job.programs.size() != 1 || job.inputs.size() != 1 || job.steps.empty() || job.steps.back().kind != Step::kInterleave)
    throw Failure(kBadJob, "the job to trace is not one program's");
  const ProgramSpec& spec = job.programs[0];
  const Step& step = job.steps.back();
  set_threads(job.threads);
  Tracer tracer;
  executorch::extension::Module module(spec.path, executorch::extension::Module::LoadMode::Mmap);
  const et::Error loaded = module.load_method(spec.method, nullptr, &tracer);
  if (loaded != et::Error::Ok) fail(loaded, kBadProgram, "cannot load program " + spec.path);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  et::Method& method = **module.method(spec.method);  // the only way to set inputs and execute apart
#pragma GCC diagnostic pop
  match(method, job.inputs[0], spec.path);
  std::vector<Item> items;
  for (size_t i = 0; i < job.inputs[0].items; ++i) items.push_back(item(method, job.inputs[0], i));
  trace = std::fopen((folder + "/trace.txt").c_str(), "w");
  if (trace == nullptr) throw Failure(kNotWritten, std::string("cannot write trace.txt: ") + std::strerror(errno));
  for (uint64_t turn = 0; turn < 1 + step.warmup_runs + step.min_runs; ++turn) {
    set(method, items[turn % items.size()], spec.path);
    counting = true;
    const et::Error error = executed(method);
    counting = false;
    if (error != et::Error::Ok) fail(error, kNotRun, "cannot run program " + spec.path);
    std::fputs("done\n", trace);
  }
  if (std::fclose(trace) != 0) throw Failure(kNotWritten, std::string("cannot write trace.txt: ") + std::strerror(errno));
}

}  // namespace kdbench

// The process's clock in place of the C library's.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (!kdbench::counting) return kdbench::told_time(clock, time);
  kdbench::mark();
  return kdbench::note_clock(clock, time);
}

int main(int argc, char** argv) {
  return kdbench::ended(argc, argv, [](const std::string& folder) -> int {
    kdbench::emit = executorch::runtime::get_pal_impl()->emit_log_message;
    executorch::runtime::register_pal(executorch::runtime::PalImpl::create(
        nullptr, nullptr, kdbench::no_ticks, nullptr, kdbench::emit_errors, nullptr, nullptr, __FILE__));
    executorch::runtime::runtime_init();
    kdbench::run(kdbench::read_job(folder + "/job.txt"), folder);
    return kdbench::kOk;
  });
}
