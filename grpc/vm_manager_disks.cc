// Disks: what calls make of them, and the files that follow. The record is durable before the file is
// touched, and says CREATING or DELETING until the file is as it says: what a daemon did not finish,
// the next one does.
#include <google/protobuf/empty.pb.h>

#include <algorithm>

#include "base/log.h"
#include "grpc/field_mask.h"
#include "grpc/labels.h"
#include "grpc/resource_name.h"
#include "grpc/uuid.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kDisks = "disks";
constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kMaxDiskBytes = 64ull << 40;

ApiResult<void> CheckSize(std::uint64_t size) {
  if (size > 0 && size % kSector == 0 && size <= kMaxDiskBytes) return {};
  return std::unexpected(
      InvalidField("disk.size_bytes",
                   fmt::format("{} is not a multiple of 512 from 512 to {}", size, kMaxDiskBytes)));
}

void EndDiskOperation(Batch& batch, v1::Operation operation, const v1::Disk& disk,
                      const google::protobuf::Timestamp& now) {
  operation.set_done(true);
  if (operation.metadata().verb() == "Delete")
    operation.mutable_response()->PackFrom(google::protobuf::Empty());
  else
    operation.mutable_response()->PackFrom(disk);
  operation.mutable_metadata()->set_progress_percent(100);
  *operation.mutable_metadata()->mutable_end_time() = now;
  batch.put_operations.push_back(std::move(operation));
}

}  // namespace

ApiResult<v1::Disk*> VmManager::FindDisk(const std::string& name, const std::string& etag) {
  if (auto parsed = ParseResourceName("name", kDisks, name); !parsed)
    return std::unexpected(std::move(parsed).error());
  const auto found = disks_.find(name);
  if (found == disks_.end()) return std::unexpected(ResourceNotFound("disk", name));
  if (!etag.empty() && etag != found->second.etag())
    return std::unexpected(MakeApiError(
        Code::kAborted, reason::kEtagMismatch,
        fmt::format("etag \"{}\" is not {}'s, which is \"{}\"", etag, name, found->second.etag())));
  if (found->second.state() != v1::DISK_STATE_READY)
    return std::unexpected(
        WrongState(name, fmt::format("{} is {}", name, v1::DiskState_Name(found->second.state()))));
  return &found->second;
}

// Another project's disk is none, so that nobody learns its name, let alone reads it.
ApiResult<void> VmManager::CheckDisks(const v1::VirtualMachine& vm, std::string_view spec) const {
  const std::string project = ProjectOf(vm.name());
  for (int i = 0; i < vm.spec().disks_size(); ++i) {
    const v1::DiskAttachment& disk = vm.spec().disks(i);
    if (disk.has_iscsi()) {
      if (auto free = CheckLun(vm, disk, fmt::format("{}.disks[{}].iscsi", spec, i)); !free)
        return free;
    } else if (ProjectOf(disk.disk()) != project) {
      return std::unexpected(
          InvalidField(fmt::format("{}.disks[{}].disk", spec, i),
                       fmt::format("\"{}\" is not a disk of {}", disk.disk(), project)));
    }
  }
  return {};
}

// Two names may be of one target. A reader beside a writer sees neither what was nor what is.
ApiResult<void> VmManager::CheckLun(const v1::VirtualMachine& vm, const v1::DiskAttachment& disk,
                                    const std::string& field) const {
  const IscsiTargets& iscsi = options_.paths.iscsi;
  const auto target = FindTarget(iscsi, disk.iscsi().target(), LastPart(ProjectOf(vm.name())));
  if (!target) return std::unexpected(InvalidField(field + ".target", target.error().message));
  const auto taken = [&](const v1::DiskAttachment& other) {
    if (!other.has_iscsi() || other.iscsi().lun() != disk.iscsi().lun() ||
        (other.read_only() && disk.read_only()))
      return false;
    const auto its = iscsi.targets.find(other.iscsi().target());
    return its == iscsi.targets.end() ? other.iscsi().target() == disk.iscsi().target()
                                      : its->second.iqn == (*target)->iqn;
  };
  for (const auto& [name, other] : vms_) {
    const auto& spec = other.stored.vm.spec().disks();
    const auto& running = other.stored.running_spec.disks();
    if (name == vm.name() || (std::none_of(spec.begin(), spec.end(), taken) &&
                              std::none_of(running.begin(), running.end(), taken)))
      continue;
    // Of another project nobody learns more than that.
    const bool ours = ProjectOf(name) == ProjectOf(vm.name());
    return std::unexpected(
        WrongState(vm.name(),
                   fmt::format("{}: LUN {} of {} is a disk of {}", field, disk.iscsi().lun(),
                               disk.iscsi().target(), ours ? name : "another project's machine"),
                   reason::kInUse));
  }
  return {};
}

std::vector<std::string> VmManager::UsersOf(const std::string& disk) const {
  std::vector<std::string> users;
  for (const auto& [name, vm] : vms_) {
    const auto names = [&](const v1::DiskAttachment& attached) { return attached.disk() == disk; };
    const auto& spec = vm.stored.vm.spec().disks();
    const auto& running = vm.stored.running_spec.disks();
    if (std::any_of(spec.begin(), spec.end(), names) ||
        std::any_of(running.begin(), running.end(), names))
      users.push_back(name);
  }
  return users;
}

void VmManager::TouchDisk(v1::Disk& disk) const {
  disk.set_etag(RandomHex(16));
  *disk.mutable_update_time() = Now();
}

void VmManager::AddDiskEvent(Batch& batch, v1::EventType type, const v1::Disk& disk,
                             std::string_view reason, const v1::Operation* operation) const {
  v1::VirtualMachine named;  // what AddEvent takes of a resource: its name and uid
  named.set_name(disk.name());
  named.set_uid(disk.uid());
  AddEvent(batch, type, named, reason, disk.message(), operation);
}

ApiResult<void> VmManager::CheckNewDisk(const std::string& name, v1::Disk& disk) const {
  if (disks_.contains(name)) return std::unexpected(ResourceExists("disk", name, ""));
  disk.set_format(v1::DISK_FORMAT_RAW);
  if (disk.allocation() == v1::ALLOCATION_UNSPECIFIED) disk.set_allocation(v1::ALLOCATION_SPARSE);
  if (!disk.block_device().empty()) {
    if (!options_.pools->HasDevice(disk.block_device()))
      return std::unexpected(InvalidField(
          "disk.block_device",
          fmt::format("\"{}\" is not one that this node gives away: {}", disk.block_device(),
                      fmt::join(options_.pools->block_devices(), ", "))));
    const auto size = DiskPools::DeviceSize(disk.block_device());
    if (!size) return std::unexpected(InvalidField("disk.block_device", size.error().message));
    disk.set_size_bytes(*size);
    return {};
  }
  if (disk.pool().empty()) disk.set_pool("default");
  const auto space = options_.pools->Space(disk.pool());
  if (!space) return std::unexpected(InvalidField("disk.pool", space.error().message));
  return CheckSize(disk.size_bytes());
}

ApiResult<v1::Disk> VmManager::NewDisk(const v1::CreateDiskRequest& request) const {
  auto project = ParseParent("parent", request.parent(), Wildcard::kRefused);
  if (!project) return std::unexpected(std::move(project).error());
  if (!IsResourceId(request.disk_id()))
    return std::unexpected(
        InvalidField("disk_id", fmt::format("\"{}\" is not 1 to 63 of a-z, 0-9 and '-', beginning "
                                            "with a letter",
                                            request.disk_id())));
  v1::Disk disk;
  disk.set_name(MakeResourceName(*project, kDisks, request.disk_id()));
  disk.set_uid(NewUuid());
  *disk.mutable_labels() = request.disk().labels();
  disk.set_description(request.disk().description());
  disk.set_pool(request.disk().pool());
  disk.set_block_device(request.disk().block_device());
  disk.set_allocation(request.disk().allocation());
  disk.set_size_bytes(request.disk().size_bytes());
  if (auto labels = CheckLabels(disk.labels(), disk.description(), "disk"); !labels)
    return std::unexpected(std::move(labels).error());
  if (auto valid = CheckNewDisk(disk.name(), disk); !valid)
    return std::unexpected(std::move(valid).error());
  access::Usage more;
  more.disk_bytes = disk.size_bytes();
  if (auto quota = CheckQuota(ProjectOf(disk.name()), more); !quota)
    return std::unexpected(std::move(quota).error());
  *disk.mutable_create_time() = Now();
  TouchDisk(disk);
  return disk;
}

void VmManager::CreateDisk(CallInfo call, v1::CreateDiskRequest request, Reply reply) {
  FinishUpload(std::move(call), std::move(request), "", std::move(reply));
}

void VmManager::CheckUpload(CallInfo call, v1::CreateDiskRequest request, Reply reply) {
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  if (!request.disk().block_device().empty())
    return reply(std::unexpected(
        InvalidField("create.disk.block_device", "bytes can be uploaded to pools alone")));
  call.validate_only = true;
  CreateDisk(std::move(call), std::move(request), std::move(reply));
}

// With the bytes in their file the disk is as one that is being created: what makes it ready, finds
// that file.
void VmManager::FinishUpload(CallInfo call, v1::CreateDiskRequest request, std::string uid,
                             Reply reply) {
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  auto made = NewDisk(request);
  if (!made) return reply(std::unexpected(std::move(made).error()));
  v1::Disk& disk = *made;
  if (!uid.empty()) disk.set_uid(std::move(uid));
  const bool device = !disk.block_device().empty();
  disk.set_state(device ? v1::DISK_STATE_READY : v1::DISK_STATE_CREATING);
  Batch batch;
  const v1::Operation operation =
      NewOperation(call, LastPart(ProjectOf(disk.name())), disk.name(), disk.uid());
  AddDiskEvent(batch, v1::EVENT_TYPE_CREATED, disk, "REQUESTED", &operation);
  if (device && !call.validate_only) EndDiskOperation(batch, operation, disk, Now());
  batch.put_disks.push_back(disk);
  Finish(call, std::move(batch), operation, reply);
  if (!call.validate_only) PursueDisk(disk);
}

void VmManager::UpdateDisk(CallInfo call, v1::UpdateDiskRequest request, Reply reply) {
  const auto refuse = [&](ApiError error) { reply(std::unexpected(std::move(error))); };
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  auto found = FindDisk(request.disk().name(), request.disk().etag());
  if (!found) return refuse(std::move(found).error());
  v1::Disk next = **found;
  if (auto applied = ApplyMask(request.update_mask(), {"labels", "description", "size_bytes"},
                               request.disk(), next);
      !applied)
    return refuse(std::move(applied).error());
  if (auto labels = CheckLabels(next.labels(), next.description(), "disk"); !labels)
    return refuse(std::move(labels).error());
  if (next.size_bytes() < (*found)->size_bytes() ||
      (next.size_bytes() != (*found)->size_bytes() && !next.block_device().empty()))
    return refuse(InvalidField("disk.size_bytes",
                               fmt::format("{}: it has {}, and a disk of a pool alone grows, and "
                                           "never shrinks",
                                           next.size_bytes(), (*found)->size_bytes())));
  if (auto valid = CheckSize(next.size_bytes()); !valid) return refuse(std::move(valid).error());
  access::Usage more;
  more.disk_bytes = next.size_bytes() - (*found)->size_bytes();
  if (auto quota = CheckQuota(ProjectOf(next.name()), more); !quota)
    return refuse(std::move(quota).error());
  TouchDisk(next);
  const bool grows = next.size_bytes() != (*found)->size_bytes();
  if (grows) next.set_state(v1::DISK_STATE_GROWING);
  Batch batch;
  const v1::Operation operation =
      NewOperation(call, LastPart(ProjectOf(next.name())), next.name(), next.uid());
  AddDiskEvent(batch, v1::EVENT_TYPE_CONFIGURATION_CHANGED, next, "REQUESTED", &operation);
  if (!grows && !call.validate_only) EndDiskOperation(batch, operation, next, Now());
  batch.put_disks.push_back(next);
  Finish(call, std::move(batch), operation, reply);
  if (!call.validate_only) PursueDisk(next);
}

void VmManager::DeleteDisk(CallInfo call, v1::DeleteDiskRequest request, Reply reply) {
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  const v1::Operation operation =
      NewOperation(call, LastPart(ProjectOf(request.name())), request.name(), "");
  Batch batch;
  auto found = FindDisk(request.name(), request.etag());
  if (!found) {
    if (found.error().code() != static_cast<int>(Code::kNotFound) || !request.allow_missing())
      return reply(std::unexpected(std::move(found).error()));
    if (!call.validate_only) EndDiskOperation(batch, operation, v1::Disk(), Now());
    return Finish(call, std::move(batch), operation, reply);
  }
  if (const auto users = UsersOf(request.name()); !users.empty())
    return reply(std::unexpected(WrongState(
        request.name(), fmt::format("{} is a disk of {}", request.name(), fmt::join(users, ", ")),
        reason::kInUse)));
  v1::Disk next = **found;
  next.set_state(v1::DISK_STATE_DELETING);
  batch.put_disks.push_back(next);
  Finish(call, std::move(batch), operation, reply);
  if (!call.validate_only) PursueDisk(next);
}

void VmManager::LoadDisks(std::vector<v1::Disk> disks) {
  for (v1::Disk& disk : disks) {
    published_->disks.Put(disk.name(), disk);
    disks_[disk.name()] = std::move(disk);
  }
  if (options_.pools == nullptr || options_.worker == nullptr) return;
  std::set<std::string> uids;
  for (const auto& [name, disk] : disks_) uids.insert(disk.uid());
  options_.worker->Post([uids = std::move(uids), pools = options_.pools] {
    pools->RemoveUploads(uids);  // of a daemon that was killed
  });
}

// Makes the file what the record says, on the thread for that.
void VmManager::PursueDisk(const v1::Disk& disk) {
  if (options_.pools == nullptr || options_.worker == nullptr ||
      disk.state() == v1::DISK_STATE_READY || !disks_.contains(disk.name()))
    return;
  options_.worker->Post(
      [this, disk, loop = loop_, pools = options_.pools, alive = std::weak_ptr(alive_)] {
        DiskOutcome outcome;
        if (disk.state() != v1::DISK_STATE_DELETING) {
          outcome.allocated = pools->Ensure(disk.pool(), disk.uid(), disk.size_bytes(),
                                            disk.allocation() == v1::ALLOCATION_FULL);
          if (const auto size = pools->SizeOf(disk.pool(), disk.uid())) outcome.size = *size;
        } else if (disk.block_device().empty()) {
          if (const Status removed = pools->Remove(disk.pool(), disk.uid()); !removed)
            outcome.allocated = std::unexpected(removed.error());
        }
        loop->Post([this, alive, name = disk.name(), outcome] {
          if (!alive.expired()) SettleDisk(name, outcome);
        });
      });
}

void VmManager::SettleDisk(const std::string& name, const DiskOutcome& outcome) {
  const auto found = disks_.find(name);
  if (found == disks_.end()) return;
  v1::Disk next = found->second;
  const v1::DiskState was = next.state();
  const bool well = outcome.allocated.has_value();
  next.set_state(v1::DISK_STATE_READY);
  next.set_message(well ? "" : Printable(outcome.allocated.error().message));
  if (well) next.set_allocated_bytes(*outcome.allocated);
  if (outcome.size > 0) next.set_size_bytes(outcome.size);
  Batch batch;
  // One that could not be made leaves nothing; one that could not grow is as large as it was.
  const bool gone = was == (well ? v1::DISK_STATE_DELETING : v1::DISK_STATE_CREATING);
  if (gone) {
    AddDiskEvent(batch, v1::EVENT_TYPE_DELETED, next, well ? "REQUESTED" : "DISK_FAILED", nullptr);
    batch.delete_disks.push_back(name);
  } else {
    batch.put_disks.push_back(next);
  }
  for (const auto& [operation_name, operation] : operations_) {
    if (operation.done() || operation.metadata().target() != name) continue;
    if (well)
      EndDiskOperation(batch, operation, next, Now());
    else
      EndOperation(batch, operation, FromError(outcome.allocated.error(), "DISK_FAILED"));
  }
  if (Commit(std::move(batch))) return;
  timers_->After(kRetryMs, [this, name, outcome] { SettleDisk(name, outcome); });
}

}  // namespace gemel::daemon
