// The whole of one virtual machine as data. Defaults are here; Validate is pure and total; nothing
// changes after validation. Keys and words are the command line's (docs/RUN.md).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vmm/config/balloon_config.h"
#include "vmm/config/channel_config.h"
#include "vmm/config/identity_config.h"
#include "vmm/config/iscsi_config.h"
#include "vmm/config/net_config.h"

namespace gemel {

inline constexpr std::uint32_t kMaxCpus = 64;
// Interrupt lines that the micro profile has for virtio-mmio devices (vmm/arch/x86/layout.h).
inline constexpr std::uint32_t kMaxMmioDevices = 16;
// Devices of bus 0 that the server profile has for virtio-pci (vmm/pci/q35.h).
inline constexpr std::uint32_t kMaxPciDevices = 27;
inline constexpr std::uint64_t kMinMemoryBytes = 16ull << 20;
inline constexpr std::uint64_t kMaxMemoryBytes = 16ull << 40;
inline constexpr std::size_t kMaxCmdlineBytes = 2047;

enum class Profile : std::uint8_t { kMicro, kServer };
enum class OnReboot : std::uint8_t { kReset, kExit };
enum class IoEngine : std::uint8_t { kAuto, kIoUring, kSync };

struct MemoryConfig {
  std::uint64_t size = 512ull << 20;  // bytes, a multiple of 1 MiB (2 MiB with hugepages)
  bool shared = false;                // one memfd instead of private anonymous memory
  bool hugepages = false;             // reserved 2 MiB pages
  bool operator==(const MemoryConfig&) const = default;
};

struct BootConfig {
  std::string kernel;   // path; ELF with a PVH entry, or bzImage
  std::string initrd;   // path; empty: none
  std::string cmdline;  // at most 2047 bytes
  bool operator==(const BootConfig&) const = default;
};

struct DiskConfig {
  std::string path;  // regular file (raw) or block device
  bool readonly = false;
  std::string
      serial;  // at most 20 bytes of printable ASCII (virtio 1.2, 5.2.6.1: GET_ID); empty: none
  bool direct = false;  // O_DIRECT
  IoEngine engine = IoEngine::kAuto;
  // Not a user's word: what whoever opened a block device learnt of it (block/device_discard.h).
  std::uint32_t device_discard = 0;
  std::optional<IscsiConfig> iscsi = std::nullopt;  // with it, `path` is its IscsiUrl
  bool operator==(const DiskConfig&) const = default;
};

struct SerialConfig {
  enum class Kind : std::uint8_t { kStdio, kPty, kFile, kUnix, kNone, kHub };
  // kHub is the daemon's alone, and has no word: vmm/devices/console_hub.h.
  Kind kind = Kind::kStdio;
  std::string path;  // kFile, kUnix
  bool operator==(const SerialConfig&) const = default;
};

struct MachineConfig {
  std::string name = "vm";           // 1 to 63 of [a-z0-9-], begins with a letter
  std::string machine = "server-1";  // versioned machine type: the guest ABI
  Profile profile = Profile::kServer;
  std::uint32_t cpus = 1;  // 1 to kMaxCpus
  std::string cpu_model = "host";
  MemoryConfig memory;
  BootConfig boot;
  bool acpi = true;         // false (micro only): MP table and virtio_mmio.device= words instead
  IdentityConfig identity;  // server only, but for the UUID
  std::vector<DiskConfig> disks;
  std::vector<NetConfig> nets;
  bool rng = true;  // a virtio-rng device
  std::optional<BalloonConfig> balloon;
  ConsoleConfig console;
  std::vector<ChannelConfig> channels;
  std::optional<VsockConfig> vsock;
  SerialConfig serial;
  OnReboot on_reboot = OnReboot::kReset;
  bool operator==(const MachineConfig&) const = default;
};

// The newest machine type of the profile: what `machine` is if nobody says.
std::string_view DefaultMachine(Profile profile);
// How many virtio devices the profile has places for.
std::uint32_t MaxDevices(Profile profile);
// Whether it has a virtio console device: for a console, channels, or both.
bool HasConsole(const MachineConfig& config);

// Checks everything that can be told without looking at the host. kInvalidArgument with
// "<argument>: <value>: <what is wrong>" for the first thing that is wrong.
Status Validate(const MachineConfig& config);

}  // namespace gemel
