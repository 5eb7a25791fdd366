// gemel.v1.Events over the event log. gRPC's threads.
#pragma once
#include "grpc/service_call.h"
#include "proto/gemel/v1/events.grpc.pb.h"

namespace gemel::daemon {

class EventsService final : public v1::Events::CallbackService {
 public:
  explicit EventsService(ServiceContext* services) : services_(services) {}

  grpc::ServerWriteReactor<v1::Event>* Watch(grpc::CallbackServerContext* context,
                                             const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::ListEventsRequest* request,
                                 v1::ListEventsResponse* response) override;

 private:
  ServiceContext* const services_;
};

}  // namespace gemel::daemon
