#include "grpc/disks_service.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <string_view>
#include <utility>

namespace gemel::daemon {
namespace {

using access::Permission;

constexpr std::string_view kDisksService = "Disks";
constexpr std::uint64_t kStatBlock = 512;  // stat(2)

void Fail(v1::Disk& disk, std::string_view why) {
  disk.set_state(v1::DISK_STATE_FAILED);
  disk.set_message(Printable(why));
}

// What its file says: somebody may have taken it away, and a sparse one grows as its guest writes.
void LookAtFile(const DiskPools& pools, v1::Disk& disk) {
  const auto path = pools.PathOf(disk.pool(), disk.uid());
  if (!path) return Fail(disk, path.error().message);
  struct stat info{};
  if (stat(path->c_str(), &info) != 0) return Fail(disk, ErrnoError(errno, *path).error().message);
  disk.set_allocated_bytes(static_cast<std::uint64_t>(info.st_blocks) * kStatBlock);
  if (static_cast<std::uint64_t>(info.st_size) < disk.size_bytes())
    Fail(disk, fmt::format("{}: has {} bytes of {}", *path, info.st_size, disk.size_bytes()));
}

}  // namespace

DisksService::Reactor* DisksService::Create(Context* context, const v1::CreateDiskRequest* request,
                                            v1::Operation* response) {
  return Mutate(services_, context, kDisksService, "Create", Permission::kChange, request->parent(),
                *request, response, &VmManager::CreateDisk);
}

DisksService::Reactor* DisksService::Update(Context* context, const v1::UpdateDiskRequest* request,
                                            v1::Operation* response) {
  return Mutate(services_, context, kDisksService, "Update", Permission::kChange,
                request->disk().name(), *request, response, &VmManager::UpdateDisk);
}

DisksService::Reactor* DisksService::Delete(Context* context, const v1::DeleteDiskRequest* request,
                                            v1::Operation* response) {
  return Mutate(services_, context, kDisksService, "Delete", Permission::kChange, request->name(),
                *request, response, &VmManager::DeleteDisk);
}

v1::Disk DisksService::Shown(const v1::Disk& disk) const {
  v1::Disk shown = disk;
  shown.clear_users();
  services_->published->vms.Visit("", "", [&](const std::string& name, const auto& vm) {
    for (const v1::DiskAttachment& attached : vm->spec().disks()) {
      if (attached.disk() == disk.name()) shown.add_users(name);
    }
    return true;
  });
  if (shown.state() == v1::DISK_STATE_READY && shown.block_device().empty())
    LookAtFile(*pools_, shown);
  return shown;
}

DisksService::Reactor* DisksService::Get(Context* context, const v1::GetDiskRequest* request,
                                         v1::Disk* response) {
  const auto answer = [&]() -> ApiResult<v1::Disk> {
    if (auto name = ParseResourceName("name", "disks", request->name()); !name)
      return std::unexpected(std::move(name).error());
    auto caller = services_->gate->Admit(*context, "Disks/Get", Permission::kRead, request->name());
    if (!caller) return std::unexpected(std::move(caller).error());
    const auto found = services_->published->disks.Get(request->name());
    if (found == nullptr) return std::unexpected(ResourceNotFound("disk", request->name()));
    return Shown(*found);
  };
  return Answer<v1::Disk>(services_, context, answer(), response);
}

DisksService::Reactor* DisksService::List(Context* context, const v1::ListDisksRequest* request,
                                          v1::ListDisksResponse* response) {
  static const std::vector<std::string_view> kPaths = {"name", "pool", "state", "size_bytes",
                                                       "labels.*"};
  const auto answer = [&]() -> ApiResult<v1::ListDisksResponse> {
    auto query = ParseList(*request, "disks", v1::Disk::descriptor(), kPaths);
    if (!query) return std::unexpected(std::move(query).error());
    auto caller = services_->gate->AdmitList(*context, "Disks/List", ListScope(request->parent()));
    if (!caller) return std::unexpected(std::move(caller).error());
    v1::ListDisksResponse list;
    const auto visible = [&](const std::string& name, const v1::Disk&) {
      return services_->gate->MayRead(*caller, name);
    };
    for (const auto& disk :
         PageOf(services_->published->disks, *query, visible, list.mutable_next_page_token()))
      *list.add_disks() = Shown(*disk);
    return list;
  };
  return Answer<v1::ListDisksResponse>(services_, context, answer(), response);
}

std::vector<v1::Pool> DisksService::DescribePools() const {
  std::vector<v1::Pool> all;
  for (const auto& [name, folder] : pools_->pools()) {
    v1::Pool& pool = all.emplace_back();
    pool.set_pool(name);
    if (const auto space = pools_->Space(name)) {
      pool.set_capacity_bytes(space->capacity);
      pool.set_free_bytes(space->free);
    } else {
      pool.set_message(Printable(space.error().message));
    }
  }
  services_->published->disks.Visit("", "", [&](const std::string&, const auto& disk) {
    for (v1::Pool& pool : all) {
      if (disk->pool() == pool.pool())
        pool.set_provisioned_bytes(pool.provisioned_bytes() + disk->size_bytes());
    }
    return true;
  });
  return all;
}

DisksService::Reactor* DisksService::ListPools(Context* context,
                                               const v1::ListPoolsRequest* request,
                                               v1::ListPoolsResponse* response) {
  const auto answer = [&]() -> ApiResult<v1::ListPoolsResponse> {
    auto page = ParsePage(request->page_size(), request->page_token(), "pools");
    if (!page) return std::unexpected(std::move(page).error());
    auto filter = Filter::Parse(request->filter(), v1::Pool::descriptor(), {"pool"});
    if (!filter) return std::unexpected(std::move(filter).error());
    auto caller = services_->gate->AdmitList(*context, "Disks/ListPools", "");
    if (!caller) return std::unexpected(std::move(caller).error());
    v1::ListPoolsResponse list;
    for (v1::Pool& pool : DescribePools())
      if (filter->Matches(pool)) *list.add_pools() = std::move(pool);
    return list;
  };
  return Answer<v1::ListPoolsResponse>(services_, context, answer(), response);
}

}  // namespace gemel::daemon
