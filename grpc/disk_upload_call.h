// gemel.v1.Disks.Upload: one stream. Its bytes are written on the thread for disks' files, a message at a
// time, so that a client is as fast as the disk and takes 2 MiB of ours.
#pragma once
#include <atomic>

#include "grpc/disk_pools.h"
#include "grpc/service_call.h"
#include "proto/gemel/v1/disks.grpc.pb.h"

namespace gemel::daemon {

// What all uploads share. All that it points to outlives them.
struct UploadContext {
  ServiceContext* services = nullptr;
  const DiskPools* pools = nullptr;
  EventLoop* worker = nullptr;  // the thread for disks' files
  std::atomic<int> under_way{0};
};

// Deletes itself at its end.
grpc::ServerReadReactor<v1::UploadDiskRequest>* BeginUpload(UploadContext* uploads,
                                                            grpc::CallbackServerContext* context,
                                                            v1::Operation* response);

}  // namespace gemel::daemon
