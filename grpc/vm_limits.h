// What one VM may use of its host, what is in force, and what it has used. Plain data.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gemel::daemon {

struct IoLimit {
  std::string path;  // a disk's image or device: the limit is that of the block device below it
  // A second; 0: no limit.
  std::uint64_t read_bytes = 0;
  std::uint64_t write_bytes = 0;
  std::uint64_t read_ops = 0;
  std::uint64_t write_ops = 0;
  bool operator==(const IoLimit&) const = default;
};

struct VmLimits {
  std::uint32_t cpu_weight = 100;   // 1 to 10000, cgroup v2's cpu.weight
  std::uint32_t cpu_cap_milli = 0;  // of one CPU: 2500 is two and a half; 0: no cap
  // Bytes for guest and process together, page tables and page cache included: memory.max as it
  // stands. 0: no limit; else the guest's RAM and MemoryOverhead, or more.
  std::uint64_t memory = 0;
  std::uint32_t io_weight = 100;  // 1 to 10000, io.weight
  std::vector<IoLimit> io;
  std::vector<std::uint32_t> cpus;  // host CPUs that it may run on; empty: all
  bool operator==(const VmLimits&) const = default;
};

// Read back from the kernel.
struct VmLimitsInForce {
  std::string cgroup;  // path; empty: no cgroup v2 here, and no limit is in force
  std::uint32_t cpu_weight = 0;
  std::uint32_t cpu_cap_milli = 0;
  std::uint64_t memory = 0;          // memory.max; 0: none
  std::uint64_t memory_current = 0;  // of them all, page cache included
  std::uint32_t io_weight = 0;
  std::vector<std::string> io;      // io.max's lines, as the kernel has them
  std::vector<std::uint32_t> cpus;  // cpuset.cpus.effective
  // What was asked for and is not in force, and why: "io: this kernel has no io controller".
  std::vector<std::string> missing;
  bool operator==(const VmLimitsInForce&) const = default;
};

// Counters only grow while the VM's process lives; gauges say so.
struct VmStatistics {
  std::uint64_t cpu_ns = 0;               // of the whole process
  std::vector<std::uint64_t> vcpu_ns;     // of each vCPU's thread, guest and host time
  std::uint64_t resident_bytes = 0;       // gauge: VmRSS of gemel-vmm, guest RAM included
  std::uint64_t peak_resident_bytes = 0;  // VmHWM
  std::uint64_t memory_bytes = 0;         // gauge: of the cgroup, page cache included; 0: none
  // Exits to user space, by reason ("io", "mmio", "hlt", …).
  std::vector<std::pair<std::string, std::uint64_t>> exits;
  // By device ("blk0", "net0"), then counter ("read_bytes", "rx_packets", …).
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::uint64_t>>>> devices;
  std::uint64_t resets = 0;
};

}  // namespace gemel::daemon
