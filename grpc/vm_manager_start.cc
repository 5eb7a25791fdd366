// What a machine is started with, and whether there is room for it.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/file_util.h"
#include "base/log.h"
#include "grpc/network_host.h"
#include "grpc/resource_name.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

// A file below `folder`, by no link that leads out of it (openat2(2)).
Result<UniqueFd> OpenBelow(std::string_view folder, const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd root, OpenFile(std::string(folder), O_PATH | O_DIRECTORY));
  const std::string relative = path.substr(folder.size() + 1);
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const long fd = syscall(SYS_openat2, root.get(), relative.c_str(), &how, sizeof(how));
  if (fd < 0) return ErrnoError(errno, path);
  return UniqueFd(static_cast<int>(fd));
}

ApiResult<UniqueFd> OpenBootFile(std::string_view field, const std::string& path,
                                 const std::vector<std::string>& folders) {
  auto file = OpenBelow(FolderOf(path, folders), path);
  if (!file) {
    ApiError error = MakeApiError(file.error().code, "IMAGE_MISSING",
                                  fmt::format("{}: {}", field, file.error().message),
                                  {{"field", field}, {"path", path}});
    return std::unexpected(std::move(error));
  }
  return std::move(*file);
}

}  // namespace

// The cables of its cards, as they shall be; with `all` false those that are pulled alone: a machine starts
// with all plugged in.
void VmManager::ApplyLinks(const VmUid& uid, const v1::VirtualMachineSpec& spec, bool all) {
  for (int i = 0; i < spec.nics_size(); ++i) {
    if (!all && !spec.nics(i).link_down()) continue;
    supervisor_->SetLink(uid, fmt::format("net{}", i), !spec.nics(i).link_down(),
                         [uid](const Status& status) {
                           if (!status)
                             LOG(kWarning, "manager", "{}: link: {}", uid, status.error().message);
                         });
  }
}

ApiResult<void> VmManager::CheckCapacity(const Vm& vm) const {
  const v1::VirtualMachineSpec& spec = vm.stored.vm.spec();
  std::uint64_t memory = 0;
  std::uint64_t millis = 0;
  for (const auto& [name, other] : vms_) {
    const bool wanted = other.process != Process::kNone ||
                        other.stored.vm.desired_state() != v1::DESIRED_STATE_STOPPED;
    const bool counts = &other != &vm && (IsClusters(other) ? other.standing.here : wanted);
    if (!counts || name == vm.stored.vm.name()) continue;
    memory += MemoryNeed(other.stored.vm.spec());
    millis += other.stored.vm.spec().cpu().reservation_millis();
  }
  const auto left = [](std::uint64_t all, std::uint64_t used) {
    return all > used ? all - used : 0;
  };
  if (options_.memory_capacity > 0 && MemoryNeed(spec) > left(options_.memory_capacity, memory))
    return std::unexpected(MakeApiError(
        Code::kResourceExhausted, "NODE_MEMORY_SHORT",
        fmt::format(
            "memory: {} MiB and {} MiB around them asked for, {} of {} MiB of node {} are left",
            spec.memory().size_bytes() >> 20, (MemoryNeed(spec) - spec.memory().size_bytes()) >> 20,
            left(options_.memory_capacity, memory) >> 20, options_.memory_capacity >> 20,
            options_.node)));
  if (options_.cpu_capacity_millis > 0 &&
      spec.cpu().reservation_millis() > left(options_.cpu_capacity_millis, millis))
    return std::unexpected(MakeApiError(
        Code::kResourceExhausted, "NODE_CPU_SHORT",
        fmt::format("cpu.reservation_millis: {} asked for, {} of {} of node {} are left",
                    spec.cpu().reservation_millis(), left(options_.cpu_capacity_millis, millis),
                    options_.cpu_capacity_millis, options_.node)));
  return {};
}

ApiResult<VmStart> VmManager::PrepareStart(const Vm& vm) const {
  const v1::VirtualMachineSpec& spec = vm.stored.vm.spec();
  VmStart start;
  start.uid = vm.stored.vm.uid();
  if (auto room = CheckCapacity(vm); !room) return std::unexpected(std::move(room).error());
  // The configuration may have changed since the machine was defined.
  if (auto disks = CheckDisks(vm.stored.vm, "spec"); !disks)
    return std::unexpected(std::move(disks).error());
  auto config =
      ToMachineConfig(spec, LastPart(vm.stored.vm.name()), start.uid, options_.paths, "spec");
  if (!config) return std::unexpected(std::move(config).error());
  start.config = std::move(*config);
  auto limits = ToLimits(spec, "spec");
  if (!limits) return std::unexpected(std::move(limits).error());
  start.limits = std::move(*limits);
  for (int i = 0; i < spec.disks_size(); ++i) {
    const v1::IoLimit& limit = spec.disks(i).limit();
    if (limit.ByteSizeLong() == 0) continue;
    start.limits.io.push_back({start.config.disks[static_cast<std::size_t>(i)].path,
                               limit.read_bytes_per_second(), limit.write_bytes_per_second(),
                               limit.read_operations_per_second(),
                               limit.write_operations_per_second()});
  }
  auto kernel = OpenBootFile("spec.boot.kernel", spec.boot().kernel(), options_.paths.boot_folders);
  if (!kernel) return std::unexpected(std::move(kernel).error());
  start.files.kernel = std::move(*kernel);
  if (!spec.boot().initrd().empty()) {
    auto initrd =
        OpenBootFile("spec.boot.initrd", spec.boot().initrd(), options_.paths.boot_folders);
    if (!initrd) return std::unexpected(std::move(initrd).error());
    start.files.initrd = std::move(*initrd);
  }
  return start;
}

void VmManager::StartProcess(Vm& vm) {
  const VmUid uid = vm.stored.vm.uid();
  const std::string name = vm.stored.vm.name();
  auto start = PrepareStart(vm);
  if (!start) {
    vm.failure = std::move(start).error();
    return Reconcile(name);
  }
  vm.not_before_ns = 0;
  // What it was started with is durable before it is started.
  StoredVm next = vm.stored;
  next.running_spec = next.vm.spec();
  FillStatus(vm, next);
  if (next.running_spec.SerializeAsString() != vm.stored.running_spec.SerializeAsString() ||
      next.vm.status().state() != vm.stored.vm.status().state()) {
    Batch batch;
    AddStateEvent(batch, vm, next, AnyPending(vm));
    batch.put_vms.push_back(std::move(next));
    if (!Commit(std::move(batch))) return ReconcileLater(vm, kRetryMs);
  }
  vm.process = Process::kStarting;
  vm.busy = true;
  auto ports = PortsOf(vm.stored.vm, vm.stored.running_spec);
  if (ports.empty()) return Launch(uid, std::move(*start));
  OpenPorts(std::move(*start), std::move(ports), [this, uid](ApiResult<VmStart> ready) {
    if (ready) return Launch(uid, std::move(*ready));
    Answered(uid, [&](Vm& answered) {
      answered.process = Process::kNone;
      answered.failure = std::move(ready).error();
      return true;
    });
  });
}

void VmManager::Launch(const VmUid& uid, VmStart start) {
  supervisor_->Start(std::move(start),
                     [this, uid, alive = std::weak_ptr(alive_)](const Status& status) {
                       if (alive.expired()) return;
                       Answered(uid, [&](Vm& answered) {
                         if (answered.exit) return true;  // it ran, and has ended since
                         answered.process = status ? Process::kRunning : Process::kNone;
                         if (!status)
                           answered.failure = FromError(status.error(), reason::kStartFailed);
                         else
                           ApplyLinks(uid, answered.stored.running_spec, false);
                         return true;
                       });
                     });
}

// What a running machine takes over at once.
void VmManager::ApplyLive(Vm& vm) {
  const VmUid uid = vm.stored.vm.uid();
  if (vm.process != Process::kRunning && vm.process != Process::kPaused) return;
  if (!IsHere(vm)) return;
  if (const auto limits = ToLimits(vm.stored.running_spec, "spec")) {
    if (const Status set = supervisor_->SetLimits(uid, *limits); !set)
      LOG(kWarning, "manager", "{}: limits: {}", uid, set.error().message);
  }
  ApplyLinks(uid, vm.stored.running_spec, true);
  if (!vm.stored.running_spec.has_balloon()) return;
  supervisor_->SetBalloon(
      uid, vm.stored.running_spec.balloon().size_bytes(), [uid](const Status& status) {
        if (!status) LOG(kWarning, "manager", "{}: balloon: {}", uid, status.error().message);
      });
}

}  // namespace gemel::daemon
