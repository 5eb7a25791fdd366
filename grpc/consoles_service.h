// gemel.v1.Consoles: sessions on the serial consoles of machines. The guest never waits for them: each
// has a connection of its own to the console hub in the machine's process.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "grpc/service_call.h"
#include "proto/gemel/v1/consoles.grpc.pb.h"

namespace gemel::daemon {

class ConsoleSession;

// Who types on which machine. On the manager loop.
class ConsoleWriters {
 public:
  // Null: nobody.
  std::shared_ptr<ConsoleSession> Of(const std::string& uid) const;
  void Set(const std::string& uid, const std::shared_ptr<ConsoleSession>& session);
  // If it is this session's.
  void Drop(const std::string& uid, const ConsoleSession* session);

 private:
  std::map<std::string, std::weak_ptr<ConsoleSession>> writers_;
};

class ConsolesService final : public v1::Consoles::CallbackService {
 public:
  explicit ConsolesService(ServiceContext* services) : services_(services) {}

  grpc::ServerBidiReactor<v1::AttachConsoleRequest, v1::AttachConsoleResponse>* Attach(
      grpc::CallbackServerContext* context) override;

 private:
  ServiceContext* const services_;
  ConsoleWriters writers_;
};

}  // namespace gemel::daemon
