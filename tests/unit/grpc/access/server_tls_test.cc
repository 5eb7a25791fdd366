// A real gRPC server over TLS and over a Unix socket's descriptor, and clients that should and should
// not get in.
#include "grpc/access/server_tls.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "base/clock.h"
#include "base/file_util.h"
#include "base/unique_fd.h"
#include "pki/authority.h"
#include "pki/make_certificate.h"

namespace gemel::access {
namespace {

grpc::ByteBuffer BufferOf(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

std::string TextOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  static_cast<void>(buffer.Dump(&slices));
  for (const grpc::Slice& slice : slices)
    text.append(std::string(reinterpret_cast<const char*>(slice.begin()), slice.size()));
  return text;
}

// Answers every call with the caller's name, or with why there is none.
class WhoService : public grpc::CallbackGenericService {
 public:
  explicit WhoService(const Identities* identities) : identities_(identities) {}

  // Lets calls wait until Release, and WaitForCall see that one does.
  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void WaitForCall() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_; });
  }
  void Release() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    changed_.notify_all();
  }
  // How the last held call identified its peer, once it was let go.
  Result<Caller> last() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return last_.has_value(); });
    return *last_;
  }

 private:
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    Reactor(WhoService* service, grpc::GenericCallbackServerContext* context)
        : service_(service), context_(context) {
      StartRead(&request_);
    }
    void OnReadDone(bool) override {
      const auto caller = service_->Identify(*context_);
      answer_ = BufferOf(caller ? caller->name : "");
      if (!caller) {
        Finish({static_cast<grpc::StatusCode>(caller.error().code), caller.error().message});
        return;
      }
      StartWriteAndFinish(&answer_, {}, grpc::Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    WhoService* const service_;
    grpc::GenericCallbackServerContext* const context_;
    grpc::ByteBuffer request_;
    grpc::ByteBuffer answer_;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Reactor(this, context);
  }
  Result<Caller> Identify(const grpc::ServerContextBase& context) {
    std::unique_lock lock(mutex_);
    if (held_) {
      waiting_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return !held_; });
    }
    auto caller = identities_->Identify(FactsOf(context));
    last_ = caller;
    changed_.notify_all();
    return caller;
  }

  const Identities* const identities_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool waiting_ = false;
  std::optional<Result<Caller>> last_;
};

std::int64_t Now() { return ClockNs(CLOCK_REALTIME) / 1'000'000'000; }

class ServerTlsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { AllowTls13Alone(); }
  ServerTlsTest() {
    std::filesystem::remove_all(folder_);
    EXPECT_TRUE(pki::Authority::Init(folder_, {"test", {"node-a", "127.0.0.1"}, "alice", 30}, Now())
                    .has_value());
    identities_.Add(std::make_unique<LocalIdentity>(&clock_));
  }
  ~ServerTlsTest() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
  }

  void Start() {
    auto made = MakeServerTls(TlsFiles::Of(folder_));
    ASSERT_TRUE(made.has_value()) << made.error().message;
    identities_.Add(std::make_unique<CertificateIdentity>(made->revoked, &clock_));
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", made->credentials, &port_);
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    ASSERT_GT(port_, 0);
  }
  std::string Read(const std::string& file) const { return ReadTextFile(file).value_or(""); }

  std::shared_ptr<grpc::Channel> Channel(const std::string& holder, const std::string& name = "",
                                         const std::string& authority = "") {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Read(authority.empty() ? folder_ + "/ca.pem" : authority);
    if (!holder.empty()) {
      options.pem_cert_chain = Read(holder + "/cert.pem");
      options.pem_private_key = Read(holder + "/key.pem");
    }
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (!name.empty()) arguments.SetSslTargetNameOverride(name);
    return grpc::CreateCustomChannel(fmt::format("127.0.0.1:{}", port_),
                                     grpc::SslCredentials(options), arguments);
  }
  std::string Alice() const { return folder_ + "/issued/alice"; }

  // The caller's name as the server has it, or the error.
  static std::string Ask(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::GenericStub stub(channel);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const grpc::ByteBuffer request = BufferOf("");
    grpc::ByteBuffer answer;
    grpc::Status status;
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    stub.UnaryCall(&context, "/test.Who/Who", {}, &request, &answer, [&](grpc::Status result) {
      const std::lock_guard lock(mutex);
      status = std::move(result);
      done = true;
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done; });
    return status.ok() ? TextOf(answer)
                       : fmt::format("{}: {}", static_cast<int>(status.error_code()),
                                     status.error_message());
  }
  static bool IsUnavailable(const std::string& answer) { return answer.starts_with("14: "); }

  const std::string folder_ = testing::TempDir() + "server_tls/pki";
  const SystemClock clock_;
  Identities identities_;
  WhoService service_{&identities_};
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

TEST_F(ServerTlsTest, HolderOfACertificate_IsKnown) {
  Start();
  EXPECT_EQ(Ask(Channel(Alice())), "cert:alice");
}

TEST_F(ServerTlsTest, NoCertificate_IsRefused) {
  Start();
  EXPECT_TRUE(IsUnavailable(Ask(Channel(""))));
}

TEST_F(ServerTlsTest, AnotherAuthoritysCertificate_IsRefused) {
  Start();
  const std::string other = testing::TempDir() + "server_tls/other";
  std::filesystem::remove_all(other);
  ASSERT_TRUE(pki::Authority::Init(other, {"test", {"x"}, "alice", 30}, Now()).has_value());
  EXPECT_TRUE(IsUnavailable(Ask(Channel(other + "/issued/alice"))));
}

TEST_F(ServerTlsTest, ServersCertificate_IsNoClients) {
  Start();
  EXPECT_TRUE(IsUnavailable(Ask(Channel(folder_ + "/server"))));
}

TEST_F(ServerTlsTest, ExpiredCertificate_IsRefused) {
  {
    auto authority = pki::Authority::Open(folder_);
    pki::IssueOptions options;
    options.name = "bob";
    options.days = 1;
    ASSERT_TRUE(authority->Issue(options, Now() - 2 * 86'400).has_value());
  }
  Start();
  EXPECT_TRUE(IsUnavailable(Ask(Channel(folder_ + "/issued/bob"))));
}

TEST_F(ServerTlsTest, ServerOfAnotherName_IsRefusedByTheClient) {
  Start();
  EXPECT_EQ(Ask(Channel(Alice(), "node-a")), "cert:alice");
  EXPECT_TRUE(IsUnavailable(Ask(Channel(Alice(), "node-b"))));
}

TEST_F(ServerTlsTest, Revocation_CountsOnTheOpenConnectionAndForNewOnes) {
  Start();
  const auto channel = Channel(Alice());
  ASSERT_EQ(Ask(channel), "cert:alice");
  ASSERT_TRUE(pki::Authority::Open(folder_)->Revoke("alice", Now()).has_value());
  const std::string refused = Ask(channel);
  EXPECT_TRUE(refused.starts_with("16: the certificate of alice (serial ")) << refused;
  EXPECT_TRUE(IsUnavailable(Ask(Channel(Alice()))));
}

TEST_F(ServerTlsTest, UnixSocketsDescriptor_IsItsPeersUser) {
  Start();
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  grpc::AddInsecureChannelFromFd(server_.get(), ends[0]);
  const auto channel = grpc::CreateInsecureChannelFromFd("local", ends[1]);
  Identities local;
  local.Add(std::make_unique<LocalIdentity>(&clock_));
  EXPECT_EQ(Ask(channel), getuid() == 0 ? "user:root" : service_.last()->name);
}

// What LocalIdentity relies on: gRPC keeps the descriptor while a call of its connection lives.
TEST_F(ServerTlsTest, DescriptorOfAClientThatLeft_IsNotGivenAgainWhileItsCallLives) {
  Start();
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  service_.Hold();
  grpc::AddInsecureChannelFromFd(server_.get(), ends[0]);
  {
    auto channel = grpc::CreateInsecureChannelFromFd("local", ends[1]);
    grpc::GenericStub stub(channel);
    grpc::ClientContext context;
    const grpc::ByteBuffer request = BufferOf("");
    grpc::ByteBuffer answer;
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    stub.UnaryCall(&context, "/test.Who/Who", {}, &request, &answer, [&](grpc::Status) {
      const std::lock_guard lock(mutex);
      done = true;
      changed.notify_all();
    });
    service_.WaitForCall();
    context.TryCancel();
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done; });
  }
  // The client and its socket are gone. A server that had closed its end would give the number away.
  for (int i = 0; i < 50; ++i) {
    const UniqueFd probe(dup(STDERR_FILENO));
    EXPECT_NE(probe.get(), ends[0]);
    usleep(1000);
  }
  service_.Release();
  EXPECT_TRUE(service_.last().has_value());
}

TEST_F(ServerTlsTest, FilesThatDoNotBelongTogether_AreNamed) {
  ASSERT_TRUE(ReplaceFile(folder_ + "/server/key.pem", Read(Alice() + "/key.pem")).has_value());
  EXPECT_EQ(MakeServerTls(TlsFiles::Of(folder_)).error().message.substr(folder_.size()),
            "/server/key.pem: not the key of the certificate: key values mismatch");
  ASSERT_EQ(unlink((folder_ + "/crl.pem").c_str()), 0);
  ASSERT_TRUE(std::filesystem::remove(folder_ + "/server/key.pem"));
  EXPECT_EQ(MakeServerTls(TlsFiles::Of(folder_)).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace gemel::access
