// What a job sets and reads of its own process: version, log, threads, core, memory.
#pragma once

#include <executorch/runtime/platform/platform.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <stdexcept>
#include <string>

#include <sys/resource.h>
#ifdef __linux__
#include <sched.h>
#endif

#include "results.h"
#include "tensors.h"

// The wheel ships this class without its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
  size_t get_thread_count() const;
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

#ifndef KDBENCH_EXECUTORCH
#define KDBENCH_EXECUTORCH "unsaid"
#endif

namespace kdbench {

// The version of jobs and results, and of ExecuTorch where the build is told it: CMakeLists.txt tells.
inline constexpr const char* kVersion = "kdbench-runner 1 executorch-" KDBENCH_EXECUTORCH;

// What a program of kdbench's is called with and how it ends: the work on a job's folder, and its failures as exit codes.
template <typename Work>
int ended(int argc, char** argv, Work work) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s JOB_FOLDER\n", argv[0]);
    return kBadJob;
  }
  try {
    return work(std::string(argv[1]));
  } catch (const Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return failure.code;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "out of memory\n");
    return kNoMemory;
  } catch (const std::length_error&) {  // more than any memory holds
    std::fprintf(stderr, "out of memory\n");
    return kNoMemory;
  }
}

// How ExecuTorch writes its log by itself.
inline pal_emit_log_message_method emit = nullptr;

inline void emit_errors(et_timestamp_t time, et_pal_log_level_t level, const char* file, const char* function, size_t line,
                        const char* message, size_t length) {
  if (level == kError || level == kFatal) emit(time, level, file, function, line, message, length);
}

// Keeps of ExecuTorch's log what tells more than the name of the error that ends a job.
inline void log_only_errors() {
  emit = executorch::runtime::get_pal_impl()->emit_log_message;
  executorch::runtime::register_pal(executorch::runtime::PalImpl::create(emit_errors, __FILE__));
}

// Where kdbench's plugin for qemu (counter.cpp) begins and ends a count: before and after each execute(). It does nothing.
inline void mark() {
#ifdef __aarch64__
  asm volatile("mov x13, x13" ::: "memory");
#endif
}

// execute() between two marks, by itself, so that nothing of a caller's is between them.
template <typename Method>
__attribute__((noinline)) auto executed(Method& method) {
  mark();
  const auto error = method.execute();
  mark();
  return error;
}

// The number of threads, read back after setting it.
inline size_t set_threads(uint32_t threads) {
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr || !pool->_unsafe_reset_threadpool(threads))
    throw Failure(kNotRun, "cannot set " + std::to_string(threads) + " threads");
  return pool->get_thread_count();
}

// The core that the process now keeps to, -1 if it keeps to none.
inline int pin([[maybe_unused]] int cpu) {
#ifdef __linux__
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == 0) return cpu;
  }
#endif
  return -1;
}

inline uint64_t peak_rss_bytes() {
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

// From the sums over all mappings, which are exact; /proc/self/status has estimates (proc(5)).
inline Resident resident_bytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  int64_t rss = -1, anonymous = -1;
  for (std::string line; std::getline(rollup, line);) {
    if (line.rfind("Rss:", 0) == 0) rss = std::strtoll(line.c_str() + 4, nullptr, 10) * 1024;
    if (line.rfind("Anonymous:", 0) == 0) anonymous = std::strtoll(line.c_str() + 10, nullptr, 10) * 1024;
  }
  return rss < 0 || anonymous < 0 ? Resident{} : Resident{anonymous, rss - anonymous};
}

}  // namespace kdbench
