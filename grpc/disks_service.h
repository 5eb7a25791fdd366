// gemel.v1.Disks over the manager. gRPC's threads.
#pragma once
#include "grpc/disk_pools.h"
#include "grpc/disk_upload_call.h"
#include "grpc/service_call.h"
#include "proto/gemel/v1/disks.grpc.pb.h"

namespace gemel::daemon {

class DisksService final : public v1::Disks::CallbackService {
 public:
  // All outlive it; `worker` is the thread for disks' files.
  DisksService(ServiceContext* services, const DiskPools* pools, EventLoop* worker)
      : services_(services), pools_(pools), uploads_{services, pools, worker} {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* Create(Context* context, const v1::CreateDiskRequest* request,
                  v1::Operation* response) override;
  Reactor* Get(Context* context, const v1::GetDiskRequest* request, v1::Disk* response) override;
  Reactor* List(Context* context, const v1::ListDisksRequest* request,
                v1::ListDisksResponse* response) override;
  Reactor* Update(Context* context, const v1::UpdateDiskRequest* request,
                  v1::Operation* response) override;
  Reactor* Delete(Context* context, const v1::DeleteDiskRequest* request,
                  v1::Operation* response) override;
  grpc::ServerReadReactor<v1::UploadDiskRequest>* Upload(Context* context,
                                                         v1::Operation* response) override {
    return BeginUpload(&uploads_, context, response);
  }
  // The pools, and the room in them. Any thread; it looks at their folders.
  std::vector<v1::Pool> DescribePools() const;
  Reactor* ListPools(Context* context, const v1::ListPoolsRequest* request,
                     v1::ListPoolsResponse* response) override;

 private:
  // As it is published, with the machines that use it now, and what its file is now.
  v1::Disk Shown(const v1::Disk& disk) const;

  ServiceContext* const services_;
  const DiskPools* const pools_;
  UploadContext uploads_;
};

}  // namespace gemel::daemon
