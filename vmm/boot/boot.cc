#include "vmm/boot/boot.h"

#include <algorithm>
#include <array>

#include "vmm/arch/x86/layout.h"
#include "vmm/boot/boot_info.h"
#include "vmm/boot/boot_params.h"
#include "vmm/boot/bzimage_loader.h"
#include "vmm/boot/elf_loader.h"
#include "vmm/boot/guest_write.h"
#include "vmm/boot/image_file.h"
#include "vmm/boot/initrd.h"
#include "vmm/boot/long_mode.h"
#include "vmm/boot/pvh_start_info.h"

namespace gemel::boot {
namespace {

Result<LoadedKernel> LoadKernel(const GuestMemory& memory, const BootSources& sources) {
  ASSIGN_OR_RETURN(const ImageFile file,
                   ImageFile::Create(sources.kernel_fd, "kernel", sources.kernel_name));
  std::array<std::byte, kBzImageHeadBytes> buffer;
  const std::span<std::byte> head =
      std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), file.size()));
  RETURN_IF_ERROR(file.Read(0, head));
  if (LooksLikeElf(head)) return LoadElf(file, memory);
  if (LooksLikeBzImage(head)) return LoadBzImage(file, head, memory);
  return file.Invalid("neither an ELF with a PVH entry nor a bzImage");
}

Status WriteCmdline(const GuestMemory& memory, const std::string& cmdline, std::uint64_t limit) {
  if (cmdline.size() > limit)
    return InvalidArgument("cmdline: {} bytes: this kernel takes at most {}", cmdline.size(),
                           limit);
  if (cmdline.find('\0') != std::string::npos)
    return InvalidArgument("cmdline: has a zero byte at {}", cmdline.find('\0'));
  // With the terminating zero.
  return WriteGuest(memory, x86::kCmdline,
                    std::as_bytes(std::span(cmdline.c_str(), cmdline.size() + 1)));
}

Result<BootInfo> LoadInfo(const GuestMemory& memory, const BootSources& sources,
                          const LoadedKernel& kernel) {
  RETURN_IF_ERROR(WriteCmdline(memory, sources.cmdline, kernel.cmdline_max));
  BootInfo info;
  info.memory_map = BuildMemoryMap(memory);
  info.memory_map.insert(info.memory_map.end(), sources.reserved.begin(), sources.reserved.end());
  std::ranges::sort(info.memory_map, {}, &MapEntry::address);
  info.cmdline = x86::kCmdline;
  info.rsdp = sources.rsdp;
  if (sources.initrd_fd >= 0) {
    ASSIGN_OR_RETURN(const ImageFile file,
                     ImageFile::Create(sources.initrd_fd, "initrd", sources.initrd_name));
    ASSIGN_OR_RETURN(info.initrd, LoadInitrd(file, kernel, memory));
  }
  return info;
}

Result<x86::BootState> PreparePvh(const GuestMemory& memory, const LoadedKernel& kernel,
                                  const BootInfo& info) {
  RETURN_IF_ERROR(WriteGuest(memory, x86::kPvhStartInfo, BuildStartInfo(x86::kPvhStartInfo, info)));
  RETURN_IF_ERROR(WriteGuest(memory, x86::kGdtAddress, std::as_bytes(std::span(x86::kBootGdt32))));
  return x86::BootState{.mode = kernel.mode,
                        .entry = kernel.entry,
                        .argument = x86::kPvhStartInfo,
                        .stack = x86::kBootStack,
                        .gdt = x86::kGdtAddress};
}

Result<x86::BootState> PrepareLinux64(const GuestMemory& memory, const LoadedKernel& kernel,
                                      const BootInfo& info) {
  RETURN_IF_ERROR(WriteGuest(memory, x86::kBootParams, BuildBootParams(kernel.setup_header, info)));
  RETURN_IF_ERROR(WriteLongModeTables(memory));
  return x86::BootState{.mode = kernel.mode,
                        .entry = kernel.entry,
                        .argument = x86::kBootParams,
                        .stack = x86::kBootStack,
                        .page_tables = x86::kPageTables,
                        .gdt = x86::kGdtAddress};
}

}  // namespace

Result<x86::BootState> Load(const GuestMemory& memory, const BootSources& sources) {
  ASSIGN_OR_RETURN(const LoadedKernel kernel, LoadKernel(memory, sources));
  ASSIGN_OR_RETURN(const BootInfo info, LoadInfo(memory, sources, kernel));
  if (kernel.mode == x86::BootState::Mode::kLong64) return PrepareLinux64(memory, kernel, info);
  return PreparePvh(memory, kernel, info);
}

}  // namespace gemel::boot
