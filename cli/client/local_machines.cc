#include "cli/client/local_machines.h"

#include <grpcpp/grpcpp.h>

#include "proto/gemel/v1/virtual_machines.grpc.pb.h"

namespace gemel::cli {
namespace {

constexpr std::int64_t kDeadlineMs = 10'000;
constexpr std::int32_t kPage = 1000;

}  // namespace

Result<std::vector<std::string>> OrdinaryMachines(const std::string& socket) {
  const auto stub = v1::VirtualMachines::NewStub(
      grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()));
  v1::ListVirtualMachinesRequest request;
  request.set_parent("projects/-");
  request.set_page_size(kPage);
  std::vector<std::string> names;
  do {
    grpc::ClientContext context;
    context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                      gpr_time_from_millis(kDeadlineMs, GPR_TIMESPAN)));
    v1::ListVirtualMachinesResponse page;
    const grpc::Status status = stub->List(&context, request, &page);
    if (!status.ok())
      return MakeError(static_cast<Code>(status.error_code()), status.error_message());
    for (const v1::VirtualMachine& vm : page.virtual_machines())
      if (!vm.spec().has_failover()) names.push_back(vm.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return names;
}

}  // namespace gemel::cli
