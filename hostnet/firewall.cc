#include "hostnet/firewall.h"

#include <nftables/libnftables.h>

#include <cerrno>
#include <utility>

namespace gemel::hostnet {
namespace {

using Context = std::unique_ptr<nft_ctx, decltype(&nft_ctx_free)>;

class Nftables : public Firewall {
 public:
  explicit Nftables(Context context) : context_(std::move(context)) {}

  Status Apply(const std::string& rules) override {
    if (nft_run_cmd_from_buffer(context_.get(), rules.c_str()) == 0) return {};
    std::string problem = nft_ctx_get_error_buffer(context_.get());
    // The first line says what; the rest repeats the rules.
    problem.resize(std::min(problem.find('\n'), problem.size()));
    return MakeError(Code::kInternal, fmt::format("nftables: {}", problem));
  }

  std::string Read(const std::string& table) override {
    std::string text;
    for (const std::string_view family : {"inet", "bridge"}) {
      const std::string command = fmt::format("list table {} {}", family, table);
      if (nft_run_cmd_from_buffer(context_.get(), command.c_str()) == 0)
        text += nft_ctx_get_output_buffer(context_.get());
      else
        static_cast<void>(nft_ctx_get_error_buffer(context_.get()));  // there is none
    }
    return text;
  }

 private:
  Context context_;
};

}  // namespace

Result<std::unique_ptr<Firewall>> OpenNftables() {
  Context context(nft_ctx_new(NFT_CTX_DEFAULT), nft_ctx_free);
  if (!context) return MakeError(Code::kResourceExhausted, "nftables: no memory");
  if (nft_ctx_buffer_output(context.get()) != 0 || nft_ctx_buffer_error(context.get()) != 0)
    return MakeError(Code::kResourceExhausted, "nftables: no memory");
  return std::make_unique<Nftables>(std::move(context));
}

}  // namespace gemel::hostnet
