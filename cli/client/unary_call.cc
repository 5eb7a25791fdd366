#include "cli/client/unary_call.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>
#include <future>
#include <string>

#include "base/check.h"

namespace gemel::cli {
namespace {

using google::protobuf::Message;

// What the compiler would say of a stub of the service's own.
void CheckTypes(std::string_view method, const Message& request, const Message& response) {
  std::string name = fmt::format("gemel.v1.{}", method);
  std::ranges::replace(name, '/', '.');
  const google::protobuf::MethodDescriptor* const found =
      request.GetDescriptor()->file()->pool()->FindMethodByName(name);
  CHECK(found != nullptr && found->input_type() == request.GetDescriptor() &&
        found->output_type() == response.GetDescriptor());
}

}  // namespace

grpc::Status UnaryCall(const std::shared_ptr<grpc::Channel>& channel, std::string_view method,
                       const Message& request, Message* response, std::chrono::milliseconds limit) {
  CheckTypes(method, request, *response);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + limit);
  grpc::TemplatedGenericStub<Message, Message> stub(channel);
  std::promise<grpc::Status> ended;
  stub.UnaryCall(&context, fmt::format("/gemel.v1.{}", method), {}, &request, response,
                 [&ended](const grpc::Status& status) { ended.set_value(status); });
  return ended.get_future().get();
}

}  // namespace gemel::cli
