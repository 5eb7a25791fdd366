// A call of the public API by its name, whatever its messages are. So what the verbs include are messages
// alone: gRPC's own headers take the compiler longer than all the rest of a verb.
#pragma once
#include <google/protobuf/message.h>

#include <chrono>
#include <memory>
#include <string_view>

namespace grpc {
class Channel;
class Status;
}  // namespace grpc

namespace gemel::cli {

// `method` is one of package gemel.v1's: "Nodes/List". REQUIRES: the messages are that method's. Blocks
// until it is answered, or the limit is over.
grpc::Status UnaryCall(const std::shared_ptr<grpc::Channel>& channel, std::string_view method,
                       const google::protobuf::Message& request,
                       google::protobuf::Message* response, std::chrono::milliseconds limit);

}  // namespace gemel::cli
