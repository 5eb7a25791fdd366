#include "cli/client/local_machines.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "cli/client/unary_call.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::cli {
namespace {

constexpr std::chrono::seconds kLimit{10};
constexpr std::int32_t kPage = 1000;

}  // namespace

Result<std::vector<std::string>> OrdinaryMachines(const std::string& socket) {
  const auto channel = grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials());
  v1::ListVirtualMachinesRequest request;
  request.set_parent("projects/-");
  request.set_page_size(kPage);
  std::vector<std::string> names;
  do {
    v1::ListVirtualMachinesResponse page;
    const grpc::Status status = UnaryCall(channel, "VirtualMachines/List", request, &page, kLimit);
    if (!status.ok())
      return MakeError(static_cast<Code>(status.error_code()), status.error_message());
    for (const v1::VirtualMachine& vm : page.virtual_machines())
      if (!vm.spec().has_failover()) names.push_back(vm.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return names;
}

}  // namespace gemel::cli
