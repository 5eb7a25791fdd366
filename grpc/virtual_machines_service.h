// gemel.v1.VirtualMachines over the manager. gRPC's threads.
#pragma once
#include "grpc/service_call.h"
#include "proto/gemel/v1/virtual_machines.grpc.pb.h"

namespace gemel::daemon {

class VirtualMachinesService final : public v1::VirtualMachines::CallbackService {
 public:
  explicit VirtualMachinesService(ServiceContext* services) : services_(services) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* Create(Context* context, const v1::CreateVirtualMachineRequest* request,
                  v1::Operation* response) override;
  Reactor* Get(Context* context, const v1::GetVirtualMachineRequest* request,
               v1::VirtualMachine* response) override;
  Reactor* List(Context* context, const v1::ListVirtualMachinesRequest* request,
                v1::ListVirtualMachinesResponse* response) override;
  Reactor* Update(Context* context, const v1::UpdateVirtualMachineRequest* request,
                  v1::Operation* response) override;
  Reactor* Delete(Context* context, const v1::DeleteVirtualMachineRequest* request,
                  v1::Operation* response) override;
  Reactor* Start(Context* context, const v1::StartVirtualMachineRequest* request,
                 v1::Operation* response) override;
  Reactor* Shutdown(Context* context, const v1::ShutdownVirtualMachineRequest* request,
                    v1::Operation* response) override;
  Reactor* Stop(Context* context, const v1::StopVirtualMachineRequest* request,
                v1::Operation* response) override;
  Reactor* Reset(Context* context, const v1::ResetVirtualMachineRequest* request,
                 v1::Operation* response) override;
  Reactor* Pause(Context* context, const v1::PauseVirtualMachineRequest* request,
                 v1::Operation* response) override;
  Reactor* Resume(Context* context, const v1::ResumeVirtualMachineRequest* request,
                  v1::Operation* response) override;
  Reactor* Inspect(Context* context, const v1::InspectVirtualMachineRequest* request,
                   v1::VirtualMachineInspection* response) override;
  Reactor* ListStats(Context* context, const v1::ListVirtualMachineStatsRequest* request,
                     v1::ListVirtualMachineStatsResponse* response) override;

 private:
  // The machines of a ListStats that the caller may see.
  ApiResult<std::vector<std::string>> NamesOf(const access::Caller& caller,
                                              const v1::ListVirtualMachineStatsRequest& request,
                                              const ListQuery& query,
                                              std::string* next_token) const;

  ServiceContext* const services_;
};

}  // namespace gemel::daemon
