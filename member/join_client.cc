#include "member/join_client.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <poll.h>

#include <utility>

#include "base/clock.h"
#include "base/file_util.h"
#include "etcd/endpoints.h"
#include "pki/certificate.h"
#include "proto/member/member.grpc.pb.h"

namespace gemel::member {
namespace {

namespace wire = internal::member;
namespace tls = grpc::experimental;

constexpr std::int64_t kShortMs = 5'000;
// It asks etcd, which may be electing.
constexpr std::int64_t kLongMs = 40'000;
constexpr int kBetweenMs = 100;

// Nothing else is believed: no name, no authority.
class PinVerifier : public tls::ExternalCertificateVerifier {
 public:
  explicit PinVerifier(std::string fingerprint) : fingerprint_(std::move(fingerprint)) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    const grpc::string_ref pem = request->peer_cert();
    const auto shown = pki::FingerprintOf({pem.data(), pem.size()});
    if (!shown || *shown != fingerprint_) {
      *status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                             "what answers is not what the token names");
    }
    return true;  // answered
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  const std::string fingerprint_;
};

template <class Request, class Response, class Stub>
Result<Response> Call(Stub& stub,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      const Request& request, std::int64_t deadline_ms, std::string_view where) {
  grpc::ClientContext context;
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(deadline_ms, GPR_TIMESPAN)));
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (status.ok()) return response;
  const auto code = static_cast<Code>(status.error_code());
  if (code != Code::kUnavailable && code != Code::kDeadlineExceeded)
    return MakeError(code, status.error_message());
  return MakeError(code, fmt::format("{}: no answer: {}", where, status.error_message()));
}

class GrpcJoinClient : public JoinClient {
 public:
  GrpcJoinClient(const std::shared_ptr<grpc::Channel>& channel, Token token)
      : stub_(wire::Joining::NewStub(channel)), token_(std::move(token)) {}

  Result<std::vector<ClockSample>> Measure(int count) override {
    wire::MeasureRequest request;
    request.set_secret(token_.secret);
    std::vector<ClockSample> samples;
    for (int i = 0; i < count; ++i) {
      if (i > 0) poll(nullptr, 0, kBetweenMs);
      ClockSample sample;
      sample.sent = BootNs();
      ASSIGN_OR_RETURN(const auto answer, Ask(&Stub::Measure, request, kShortMs));
      sample.received = BootNs();
      sample.theirs = answer.boot_ns();
      if (i > 0) samples.push_back(sample);  // the first one made the connection
    }
    return samples;
  }
  Result<wire::JoinResponse> Join(wire::JoinRequest request) override {
    request.set_secret(token_.secret);
    return Ask(&Stub::Join, request, kLongMs);
  }
  Status Abandon() override {
    wire::AbandonRequest request;
    request.set_secret(token_.secret);
    RETURN_IF_ERROR(Ask(&Stub::Abandon, request, kLongMs));
    return {};
  }

 private:
  using Stub = wire::Joining::Stub;
  template <class Request, class Response>
  Result<Response> Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                    Response*),
                       const Request& request, std::int64_t deadline_ms) {
    return Call(*stub_, method, request, deadline_ms, token_.address);
  }

  const std::unique_ptr<Stub> stub_;
  const Token token_;
};

using ControlStub = wire::Control::Stub;

template <class Request, class Response>
Result<Response> AskControl(const std::string& run_dir,
                            grpc::Status (ControlStub::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
                            const Request& request) {
  const std::string path = run_dir + "/member.sock";
  const auto stub = wire::Control::NewStub(
      grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials()));
  return Call(*stub, method, request, kLongMs, path);
}

}  // namespace

Result<std::unique_ptr<JoinClient>> ConnectToJoin(const Token& token) {
  ASSIGN_OR_RETURN(const std::string target, etcd::GrpcTarget(token.address));
  tls::TlsChannelCredentialsOptions options;
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<PinVerifier>(token.fingerprint));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return std::unique_ptr<JoinClient>(std::make_unique<GrpcJoinClient>(
      grpc::CreateCustomChannel(target, tls::TlsCredentials(options), arguments), token));
}

Result<Credentials> AskRenew(const cluster::ClusterConfig& config, const std::string& at) {
  ASSIGN_OR_RETURN(const std::string target, etcd::GrpcTarget(at));
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(const std::string own, ReadTextFile(config.certificate));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto stub = wire::Joining::NewStub(
      grpc::CreateCustomChannel(target, grpc::SslCredentials({authority, own, own}), arguments));
  ASSIGN_OR_RETURN(const wire::RenewResponse answer,
                   Call(*stub, &wire::Joining::Stub::Renew, wire::RenewRequest(), kShortMs, at));
  return Credentials{answer.member_pem(), answer.node_pem()};
}

Result<wire::GetStatusResponse> AskStatus(const std::string& run_dir) {
  return AskControl(run_dir, &ControlStub::GetStatus, wire::GetStatusRequest());
}

Result<wire::InviteResponse> AskInvite(const std::string& run_dir, cluster::Role role,
                                       std::int64_t ttl_seconds) {
  wire::InviteRequest request;
  request.set_role(role == cluster::Role::kNode ? wire::ROLE_NODE : wire::ROLE_WITNESS);
  request.set_ttl_seconds(ttl_seconds);
  return AskControl(run_dir, &ControlStub::Invite, request);
}

Status AskRemove(const std::string& run_dir, const std::string& name, bool force) {
  wire::RemoveRequest request;
  request.set_name(name);
  request.set_force(force);
  RETURN_IF_ERROR(AskControl(run_dir, &ControlStub::Remove, request));
  return {};
}

}  // namespace gemel::member
