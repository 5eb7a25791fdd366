#include "grpc/filter.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace gemel::daemon {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

struct Filter::Node {
  enum class Kind : std::uint8_t { kAnd, kOr, kNot, kTerm };
  Kind kind = Kind::kTerm;
  std::vector<std::unique_ptr<Node>> below;
  // kTerm
  std::vector<const FieldDescriptor*> path;
  std::string key;  // of the map at the path's end
  std::string comparison;
  std::string value;
};

namespace {

constexpr std::size_t kMaxFilterBytes = 2048;
constexpr int kMaxDepth = 16;
constexpr int kMaxTerms = 64;

struct Word {
  std::string text;
  bool quoted = false;
};

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._-/*@+").find(c) != std::string_view::npos;
}

ApiResult<std::vector<Word>> Split(std::string_view text, std::string_view field) {
  std::vector<Word> words;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == ' ' || c == '\t' || c == '\n') {
      ++i;
    } else if (c == '"' || c == '\'') {
      const std::size_t end = text.find(c, i + 1);
      if (end == std::string_view::npos)
        return std::unexpected(
            InvalidField(field, fmt::format("{}: the quote does not end", text)));
      words.push_back({std::string(text.substr(i + 1, end - i - 1)), true});
      i = end + 1;
    } else if (IsPlain(c)) {
      const std::size_t begin = i;
      while (i < text.size() && IsPlain(text[i])) ++i;
      words.push_back({std::string(text.substr(begin, i - begin))});
    } else {
      const std::string_view two = text.substr(i, 2);
      const bool pair = two == "!=" || two == "<=" || two == ">=";
      if (!pair && std::string_view("=<>:()").find(c) == std::string_view::npos)
        return std::unexpected(InvalidField(field, fmt::format("{}: '{}' is not known", text, c)));
      words.push_back({std::string(pair ? two : text.substr(i, 1))});
      i += pair ? 2 : 1;
    }
  }
  return words;
}

class Parser {
 public:
  using Node = Filter::Node;
  using Made = ApiResult<std::unique_ptr<Node>>;

  Parser(std::vector<Word> words, const Descriptor* type,
         const std::vector<std::string_view>& paths, std::string_view field)
      : words_(std::move(words)), type_(type), paths_(paths), field_(field) {}

  Made Parse() {
    Made made = And(0);
    if (made && next_ < words_.size()) return Wrong("\"{}\" is one too many", words_[next_].text);
    return made;
  }

 private:
  template <class... Args>
  std::unexpected<ApiError> Wrong(fmt::format_string<Args...> format, Args&&... args) const {
    return std::unexpected(InvalidField(field_, fmt::format(format, std::forward<Args>(args)...)));
  }
  bool At(std::string_view word) const {
    return next_ < words_.size() && !words_[next_].quoted && words_[next_].text == word;
  }

  Made And(int depth) {
    if (depth > kMaxDepth) return Wrong("nested more than {} deep", kMaxDepth);
    auto node = std::make_unique<Node>();
    node->kind = Node::Kind::kAnd;
    while (true) {
      auto part = Or(depth);
      if (!part) return part;
      node->below.push_back(std::move(*part));
      if (next_ == words_.size() || At(")")) return node;
      if (At("AND")) ++next_;
    }
  }

  Made Or(int depth) {
    auto node = std::make_unique<Node>();
    node->kind = Node::Kind::kOr;
    while (true) {
      auto part = Not(depth);
      if (!part) return part;
      node->below.push_back(std::move(*part));
      if (!At("OR")) return node;
      ++next_;
    }
  }

  Made Not(int depth) {
    const bool negated = At("NOT");
    if (negated) ++next_;
    Made part = At("(") ? Nested(depth) : Term();
    if (!part || !negated) return part;
    auto node = std::make_unique<Node>();
    node->kind = Node::Kind::kNot;
    node->below.push_back(std::move(*part));
    return node;
  }

  Made Nested(int depth) {
    ++next_;
    auto inner = And(depth + 1);
    if (!inner) return inner;
    if (!At(")")) return Wrong("a parenthesis does not end");
    ++next_;
    return inner;
  }

  Made Term() {
    if (++terms_ > kMaxTerms) return Wrong("more than {} terms", kMaxTerms);
    if (words_.size() - next_ < 3) return Wrong("a term is FIELD, one of = != < > <= >= :, VALUE");
    auto node = std::make_unique<Node>();
    const std::string path = words_[next_].text;
    node->comparison = words_[next_ + 1].text;
    node->value = words_[next_ + 2].text;
    static constexpr std::string_view kComparisons[] = {"=", "!=", "<", ">", "<=", ">=", ":"};
    if (std::find(std::begin(kComparisons), std::end(kComparisons), node->comparison) ==
        std::end(kComparisons))
      return Wrong("\"{}\" does not compare; one of = != < > <= >= : does", node->comparison);
    next_ += 3;
    if (!Resolve(path, *node))
      return Wrong("\"{}\" cannot be filtered by; {} can", path, fmt::join(paths_, ", "));
    return CheckValue(path, std::move(node));
  }

  bool Resolve(const std::string& path, Node& node) const {
    const bool allowed = std::any_of(paths_.begin(), paths_.end(), [&](std::string_view known) {
      return known == path || (known.ends_with(".*") && path.size() > known.size() - 1 &&
                               path.starts_with(known.substr(0, known.size() - 1)));
    });
    if (!allowed) return false;
    const Descriptor* type = type_;
    std::string_view rest = path;
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find('.'));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      const FieldDescriptor* found = type->FindFieldByName(std::string(part));
      if (found == nullptr) return false;
      node.path.push_back(found);
      if (found->is_map()) {
        node.key = std::string(rest);
        return true;
      }
      if (rest.empty()) return true;
      type = found->message_type();
      if (type == nullptr) return false;
    }
    return false;
  }

  Made CheckValue(const std::string& path, std::unique_ptr<Node> node) const {
    const FieldDescriptor* leaf = node->path.back();
    if (leaf->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      const auto* value = FindEnum(leaf, node->value);
      if (value == nullptr) return Wrong("{}: \"{}\" is not one of its words", path, node->value);
      node->value = value->name();
    } else if (IsNumber(leaf)) {
      if (!Number(node->value)) return Wrong("{}: \"{}\" is not a number", path, node->value);
    } else if (leaf->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      if (node->value != "true" && node->value != "false")
        return Wrong("{}: \"{}\" is neither true nor false", path, node->value);
    }
    return node;
  }

 public:
  static bool IsNumber(const FieldDescriptor* field) {
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT32:
      case FieldDescriptor::CPPTYPE_UINT64:
        return !field->is_repeated();
      default:
        return false;
    }
  }
  static std::optional<std::uint64_t> Number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
  }
  // "RUNNING" of VIRTUAL_MACHINE_STATE_RUNNING.
  static const google::protobuf::EnumValueDescriptor* FindEnum(const FieldDescriptor* field,
                                                               const std::string& word) {
    const auto* type = field->enum_type();
    if (const auto* whole = type->FindValueByName(word)) return whole;
    const std::string& zero = type->value(0)->name();
    const std::string prefix = zero.substr(0, zero.rfind("UNSPECIFIED"));
    return type->FindValueByName(prefix + word);
  }

 private:
  const std::vector<Word> words_;
  const Descriptor* const type_;
  const std::vector<std::string_view>& paths_;
  const std::string_view field_;
  std::size_t next_ = 0;
  int terms_ = 0;
};

template <class T>
bool Compare(const T& left, std::string_view comparison, const T& right) {
  if (comparison == "=" || comparison == ":") return left == right;
  if (comparison == "!=") return left != right;
  if (comparison == "<") return left < right;
  if (comparison == ">") return left > right;
  return comparison == "<=" ? left <= right : left >= right;
}

bool EqualsText(std::string_view text, std::string_view pattern) {
  const bool front = pattern.starts_with('*');
  if (front) pattern.remove_prefix(1);
  const bool back = pattern.ends_with('*');
  if (back) pattern.remove_suffix(1);
  if (front && back) return text.find(pattern) != std::string_view::npos;
  if (front) return text.ends_with(pattern);
  return back ? text.starts_with(pattern) : text == pattern;
}

bool CompareText(std::string_view text, std::string_view comparison, std::string_view value) {
  if (comparison == "=") return EqualsText(text, value);
  if (comparison == "!=") return !EqualsText(text, value);
  if (comparison == ":")
    return value.find('*') == std::string_view::npos ? text.find(value) != std::string_view::npos
                                                     : EqualsText(text, value);
  return Compare(text, comparison, value);
}

// The entry of a map from text to text.
std::optional<std::string> Entry(const Message& message, const FieldDescriptor* map,
                                 const std::string& key) {
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < reflection->FieldSize(message, map); ++i) {
    const Message& entry = reflection->GetRepeatedMessage(message, map, i);
    const auto* type = entry.GetDescriptor();
    if (entry.GetReflection()->GetString(entry, type->field(0)) == key)
      return entry.GetReflection()->GetString(entry, type->field(1));
  }
  return std::nullopt;
}

std::uint64_t NumberOf(const Message& message, const FieldDescriptor* field) {
  const auto* reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return static_cast<std::uint64_t>(reflection->GetInt32(message, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<std::uint64_t>(reflection->GetInt64(message, field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection->GetUInt32(message, field);
    default:
      return reflection->GetUInt64(message, field);
  }
}

bool MatchesText(const Message& message, const Filter::Node& term) {
  const FieldDescriptor* leaf = term.path.back();
  const auto* reflection = message.GetReflection();
  if (!leaf->is_repeated())
    return CompareText(reflection->GetString(message, leaf), term.comparison, term.value);
  for (int i = 0; i < reflection->FieldSize(message, leaf); ++i) {
    if (CompareText(reflection->GetRepeatedString(message, leaf, i), term.comparison, term.value))
      return true;
  }
  return false;
}

bool MatchesTerm(const Message& root, const Filter::Node& term) {
  const Message* message = &root;
  for (std::size_t i = 0; i + 1 < term.path.size(); ++i)
    message = &message->GetReflection()->GetMessage(*message, term.path[i]);
  const FieldDescriptor* leaf = term.path.back();
  const auto* reflection = message->GetReflection();
  if (leaf->is_map()) {
    const auto value = Entry(*message, leaf, term.key);
    if (!value) return term.comparison == "!=";
    return CompareText(*value, term.comparison, term.value);
  }
  switch (leaf->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return MatchesText(*message, term);
    case FieldDescriptor::CPPTYPE_ENUM:
      return Compare<std::string_view>(reflection->GetEnum(*message, leaf)->name(), term.comparison,
                                       term.value);
    case FieldDescriptor::CPPTYPE_BOOL:
      return Compare(reflection->GetBool(*message, leaf), term.comparison, term.value == "true");
    default:
      return Parser::IsNumber(leaf) && Compare(NumberOf(*message, leaf), term.comparison,
                                               Parser::Number(term.value).value_or(0));
  }
}

bool MatchesNode(const Message& message, const Filter::Node& node) {
  const auto matches = [&](const auto& below) { return MatchesNode(message, *below); };
  switch (node.kind) {
    case Filter::Node::Kind::kAnd:
      return std::all_of(node.below.begin(), node.below.end(), matches);
    case Filter::Node::Kind::kOr:
      return std::any_of(node.below.begin(), node.below.end(), matches);
    case Filter::Node::Kind::kNot:
      return !matches(node.below.front());
    default:
      return MatchesTerm(message, node);
  }
}

}  // namespace

Filter::Filter(std::unique_ptr<Node> root) : root_(std::move(root)) {}
Filter::Filter(Filter&&) noexcept = default;
Filter& Filter::operator=(Filter&&) noexcept = default;
Filter::~Filter() = default;

ApiResult<Filter> Filter::Parse(std::string_view text, const Descriptor* type,
                                const std::vector<std::string_view>& paths,
                                std::string_view field) {
  if (text.size() > kMaxFilterBytes) {
    return std::unexpected(InvalidField(
        field, fmt::format("{} bytes are more than {}", text.size(), kMaxFilterBytes)));
  }
  auto words = Split(text, field);
  if (!words) return std::unexpected(std::move(words).error());
  if (words->empty()) return Filter(nullptr);
  auto root = Parser(std::move(*words), type, paths, field).Parse();
  if (!root) return std::unexpected(std::move(root).error());
  return Filter(std::move(*root));
}

bool Filter::Matches(const Message& message) const {
  return root_ == nullptr || MatchesNode(message, *root_);
}

}  // namespace gemel::daemon
