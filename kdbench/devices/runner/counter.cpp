// A plugin of qemu 7.2 (TCG plugin API, version 1): counts what an Arm program executes between the marks of process.h.
//
//   qemu-aarch64 -plugin ./counter.so,out=FILE ...
//
// FILE: for each pair of marks a line of four numbers: instructions; of these data processing of the vector and
// floating-point unit; those that load from memory; those that store to it. Counts are exact for a process of one thread:
// the marks themselves are left out, and a block that holds a mark is counted one by one. Loads and stores are told apart
// by their encoding: qemu 7.2 takes reads for writes where a plugin asks for either alone.
// The declarations are those of qemu's qemu-plugin.h, which Debian does not ship.
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>

extern "C" {
using Id = uint64_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum Registers { kNoRegisters };
enum Inline { kAdd };
void qemu_plugin_register_vcpu_tb_trans_cb(Id, void (*)(Id, qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_plugin_tb*, Inline, void*, uint64_t);
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn*, void (*)(unsigned, void*), Registers, void*);
void qemu_plugin_register_vcpu_insn_exec_inline(qemu_plugin_insn*, Inline, void*, uint64_t);
void qemu_plugin_register_atexit_cb(Id, void (*)(Id, void*), void*);
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb*);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb*, size_t);
const void* qemu_plugin_insn_data(const qemu_plugin_insn*);
__attribute__((visibility("default"))) int qemu_plugin_version = 1;
}

namespace {

constexpr uint32_t kMark = 0xaa0d03ed;  // mov x13, x13

struct Counts {
  uint64_t instructions = 0, vector = 0, loads = 0, stores = 0;
};
Counts now, begun;
bool inside = false;
FILE* out = nullptr;

uint32_t bits(uint32_t word, int from, int count) { return (word >> from) & ((1u << count) - 1); }

// Arm's Architecture Reference Manual, C4.1.96: "Loads and Stores". Fields are named as there.
void count_access(uint32_t word, Counts& counts) {
  const uint32_t kind = bits(word, 27, 3), size = bits(word, 30, 2), opc = bits(word, 22, 2);
  const bool vector = bits(word, 26, 1), load = bits(word, 22, 1), bit24 = bits(word, 24, 1), bit21 = bits(word, 21, 1);
  bool reads = load, writes = !load;
  if (kind == 1 && !vector && bit21 && (bits(word, 23, 1) || size < 2)) {
    reads = writes = true;  // compare and swap
  } else if (kind == 3 && !bit24) {
    reads = vector || size != 3;  // of a literal; else a prefetch
    writes = false;
  } else if (kind == 7 && !vector && !bit24 && bit21 && bits(word, 10, 2) == 0) {
    reads = true;
    writes = bits(word, 12, 4) != 12;  // atomic; 12: LDAPR
  } else if ((kind == 7 || kind == 3) && !vector) {
    writes = opc == 0;
    reads = opc != 0 && !(size == 3 && opc == 2);  // else a prefetch
  }
  counts.loads += reads;
  counts.stores += writes;
}

// What one execution of an instruction adds. C4.1: bits 28 to 25 name its group.
Counts counts_of(uint32_t word) {
  Counts counts;
  if (word == kMark) return counts;
  counts.instructions = 1;
  counts.vector = bits(word, 25, 3) == 7;
  if (bits(word, 27, 1) == 1 && bits(word, 25, 1) == 0) count_access(word, counts);
  return counts;
}

// Calls add(counter, amount) for each counter of `now` that grows.
template <typename Add>
void each(const Counts& counts, Add add) {
  if (counts.instructions) add(&now.instructions, counts.instructions);
  if (counts.vector) add(&now.vector, counts.vector);
  if (counts.loads) add(&now.loads, counts.loads);
  if (counts.stores) add(&now.stores, counts.stores);
}

uint32_t word_of(const qemu_plugin_insn* instruction) {
  uint32_t word;
  std::memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
  return word;
}

void marked(unsigned, void*) {
  if (inside)
    std::fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now.instructions - begun.instructions,
                 now.vector - begun.vector, now.loads - begun.loads, now.stores - begun.stores);
  begun = now;
  inside = !inside;
}

void translated(Id, qemu_plugin_tb* block) {
  Counts sum;
  bool holds_mark = false;
  const size_t size = qemu_plugin_tb_n_insns(block);
  for (size_t i = 0; i < size; ++i) {
    const uint32_t word = word_of(qemu_plugin_tb_get_insn(block, i));
    const Counts one = counts_of(word);
    holds_mark |= word == kMark;
    sum.instructions += one.instructions, sum.vector += one.vector, sum.loads += one.loads, sum.stores += one.stores;
  }
  if (!holds_mark) {
    each(sum, [&](uint64_t* at, uint64_t n) { qemu_plugin_register_vcpu_tb_exec_inline(block, kAdd, at, n); });
    return;
  }
  for (size_t i = 0; i < size; ++i) {
    qemu_plugin_insn* one = qemu_plugin_tb_get_insn(block, i);
    const uint32_t word = word_of(one);
    if (word == kMark) qemu_plugin_register_vcpu_insn_exec_cb(one, marked, kNoRegisters, nullptr);
    each(counts_of(word), [&](uint64_t* at, uint64_t n) { qemu_plugin_register_vcpu_insn_exec_inline(one, kAdd, at, n); });
  }
}

void ended(Id, void*) { std::fclose(out); }

}  // namespace

extern "C" __attribute__((visibility("default"))) int qemu_plugin_install(Id id, const void*, int count, char** words) {
  for (int i = 0; i < count; ++i)
    if (std::strncmp(words[i], "out=", 4) == 0) out = std::fopen(words[i] + 4, "w");
  if (out == nullptr) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, nullptr);
  return 0;
}
