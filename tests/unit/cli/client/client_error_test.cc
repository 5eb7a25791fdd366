#include "cli/client/client_error.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include "cli/report.h"
#include "proto/google/rpc/error_details.pb.h"

namespace gemel::cli {
namespace {

std::string TextFor(grpc::StatusCode code, const std::string& message) {
  return ErrorText(FromGrpc({code, message}, "vm start", "unix:/run/gemel/api.sock"));
}

TEST(ClientErrorTest, NoServer_SaysWhatToTry) {
  EXPECT_EQ(
      TextFor(grpc::StatusCode::UNAVAILABLE, "connect failed"),
      "error: unix:/run/gemel/api.sock: no answer: connect failed\n"
      "  is gemeld running? systemctl status gemeld     another server: gemel context list\n");
}

TEST(ClientErrorTest, NotFound_SaysWhereToLook) {
  EXPECT_EQ(TextFor(grpc::StatusCode::NOT_FOUND, "vm \"web\" does not exist"),
            "error: vm \"web\" does not exist\n  see what there is: gemel vm list\n");
}

TEST(ClientErrorTest, FieldsThatTheServerNames_AreShown) {
  google::rpc::BadRequest bad;
  auto& violation = *bad.add_field_violations();
  violation.set_field("virtual_machine.spec.cpu.count");
  violation.set_description("200: not 1 to 64");
  google::rpc::Status details;
  details.add_details()->PackFrom(bad);
  const grpc::Status status(grpc::StatusCode::INVALID_ARGUMENT, "invalid",
                            details.SerializeAsString());
  EXPECT_EQ(ErrorText(FromGrpc(status, "vm create", "x")),
            "error: virtual_machine.spec.cpu.count: 200: not 1 to 64\n");
}

TEST(ClientErrorTest, ServersLineBreaksAndEscapes_StayOneLine) {
  EXPECT_EQ(TextFor(grpc::StatusCode::INTERNAL, "a\nerror: \x1b[2J"),
            "error: a\\x0aerror: \\x1b[2J\n");
}

TEST(ClientErrorTest, ExitStatus_IsStable) {
  EXPECT_EQ(ExitStatusOf(Code::kOk), 0);
  EXPECT_EQ(ExitStatusOf(Code::kInternal), 1);
  EXPECT_EQ(ExitStatusOf(Code::kInvalidArgument), 2);
  EXPECT_EQ(ExitStatusOf(Code::kNotFound), 4);
  EXPECT_EQ(ExitStatusOf(Code::kAlreadyExists), 5);
  EXPECT_EQ(ExitStatusOf(Code::kFailedPrecondition), 5);
  EXPECT_EQ(ExitStatusOf(Code::kPermissionDenied), 6);
  EXPECT_EQ(ExitStatusOf(Code::kUnauthenticated), 6);
  EXPECT_EQ(ExitStatusOf(Code::kUnavailable), 7);
  EXPECT_EQ(ExitStatusOf(Code::kResourceExhausted), 8);
  EXPECT_EQ(ExitStatusOf(Code::kDeadlineExceeded), 124);
}

}  // namespace
}  // namespace gemel::cli
