#include "mos/io/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "mos/base/error.h"
#include "mos/io/pickle_objects.h"
#include "mos/io/pickle_opcodes.h"

namespace mos::io {
namespace {

using Kind = PickleNode::Kind;
using Items = std::vector<const PickleNode*>;

/// Larger pickles are refused: a whole Stable Diffusion checkpoint needs some ten thousand.
constexpr std::size_t kMaxNodes = 2'000'000;
constexpr std::size_t kMaxItems = 10'000'000;

class PickleReader {
 public:
  PickleReader(std::string_view bytes, const std::string& origin)
      : bytes_(bytes), rest_(bytes), origin_(origin) {}

  Pickle read() {
    while (true) {
      const auto opcode = static_cast<Opcode>(take(1).front());
      if (opcode == Opcode::kStop) break;
      if (!read_value(opcode) && !read_container(opcode) && !read_memo(opcode) &&
          !read_object(opcode)) {
        fail(fmt::format("the pickle uses the operation 0x{:02x}, which plain data does not",
                         static_cast<unsigned>(opcode)));
      }
    }
    pickle_.root = pop();
    pickle_.bytes = bytes_.size() - rest_.size();
    return std::move(pickle_);
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin_, reason));
  }
  [[noreturn]] void fail_damaged() const { fail("the pickle in it is damaged or incomplete"); }

  // Input.

  std::string_view take(std::uint64_t length) {
    if (length > rest_.size()) fail_damaged();
    const auto result = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return result;
  }

  std::uint64_t take_integer(std::size_t length) {
    const auto bytes = take(length);
    std::uint64_t value = 0;
    for (std::size_t i = length; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes[i]);
    }
    return value;
  }

  std::string_view take_line() {
    const auto end = rest_.find('\n');
    if (end == std::string_view::npos) fail_damaged();
    const auto line = take(end);
    take(1);
    return line;
  }

  template <typename Number>
  Number parse(std::string_view text) const {
    Number value{};
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size()) fail_damaged();
    return value;
  }

  // Stack, marks and memo.

  PickleNode& push(Kind kind) {
    if (pickle_.nodes.size() >= kMaxNodes) fail("its pickle holds too many values");
    auto& node = pickle_.nodes.emplace_back();
    node.kind = kind;
    stack_.push_back(&node);
    return node;
  }

  PickleNode* pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail_damaged();
    auto* node = stack_.back();
    stack_.pop_back();
    return node;
  }

  PickleNode& top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail_damaged();
    return *stack_.back();
  }

  Items pop_to_mark() {
    if (marks_.empty()) fail_damaged();
    const auto mark = static_cast<std::ptrdiff_t>(marks_.back());
    marks_.pop_back();
    Items items(stack_.begin() + mark, stack_.end());
    stack_.resize(static_cast<std::size_t>(mark));
    return items;
  }

  Items pop_items(std::size_t count) {
    Items items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  PickleNode& top_of_kind(Kind kind) const {
    if (top().kind != kind) fail_damaged();
    return top();
  }

  /// Bounds what copies of one long list can add up to.
  void count_items(std::size_t count) {
    items_ += count;
    if (items_ > kMaxItems) fail("its pickle holds too many values");
  }

  void append(Items& target, const Items& items) {
    count_items(items.size());
    target.insert(target.end(), items.begin(), items.end());
  }

  // Groups of opcodes; each returns whether it knew the opcode.

  bool read_value(Opcode opcode) {
    switch (opcode) {
      case Opcode::kNone:
        push(Kind::kNone);
        return true;
      case Opcode::kNewTrue:
      case Opcode::kNewFalse:
        push(Kind::kBool).integer = opcode == Opcode::kNewTrue ? 1 : 0;
        return true;
      case Opcode::kBinInt:
        push_int(static_cast<std::int32_t>(static_cast<std::uint32_t>(take_integer(4))));
        return true;
      case Opcode::kBinInt1:
        push_int(static_cast<std::int64_t>(take_integer(1)));
        return true;
      case Opcode::kBinInt2:
        push_int(static_cast<std::int64_t>(take_integer(2)));
        return true;
      case Opcode::kInt:
        push_int_line(take_line());
        return true;
      case Opcode::kLong: {
        auto line = take_line();
        if (line.ends_with('L')) line.remove_suffix(1);
        push_int(parse<std::int64_t>(line));
        return true;
      }
      case Opcode::kLong1:
        push_long(take_integer(1));
        return true;
      case Opcode::kFloat:
        push(Kind::kFloat).number = parse<double>(take_line());
        return true;
      case Opcode::kBinFloat:
        push(Kind::kFloat).number = take_big_endian_double();
        return true;
      default:
        return read_text(opcode);
    }
  }

  bool read_text(Opcode opcode) {
    switch (opcode) {
      case Opcode::kBinUnicode:
      case Opcode::kBinString:
      case Opcode::kBinBytes:
        push_text(take(take_integer(4)));
        return true;
      case Opcode::kShortBinUnicode:
      case Opcode::kShortBinString:
      case Opcode::kShortBinBytes:
        push_text(take(take_integer(1)));
        return true;
      case Opcode::kBinUnicode8:
        push_text(take(take_integer(8)));
        return true;
      case Opcode::kUnicode:
        push_text(take_line());
        return true;
      default:
        return false;
    }
  }

  bool read_container(Opcode opcode) {
    switch (opcode) {
      case Opcode::kMark:
        marks_.push_back(stack_.size());
        return true;
      case Opcode::kEmptyDict:
        push(Kind::kDict);
        return true;
      case Opcode::kEmptyList:
        push(Kind::kList);
        return true;
      case Opcode::kEmptyTuple:
        push(Kind::kTuple);
        return true;
      case Opcode::kTuple1:
      case Opcode::kTuple2:
      case Opcode::kTuple3: {
        const auto count = static_cast<unsigned>(opcode) - static_cast<unsigned>(Opcode::kTuple1);
        push_items(Kind::kTuple, pop_items(count + 1));
        return true;
      }
      case Opcode::kTuple:
        push_items(Kind::kTuple, pop_to_mark());
        return true;
      case Opcode::kList:
        push_items(Kind::kList, pop_to_mark());
        return true;
      case Opcode::kDict:
        push_items(Kind::kDict, even(pop_to_mark()));
        return true;
      default:
        return fill_container(opcode);
    }
  }

  bool fill_container(Opcode opcode) {
    switch (opcode) {
      case Opcode::kAppend: {
        const auto items = pop_items(1);
        append(top_of_kind(Kind::kList).items, items);
        return true;
      }
      case Opcode::kAppends: {
        const auto items = pop_to_mark();
        append(top_of_kind(Kind::kList).items, items);
        return true;
      }
      case Opcode::kSetItem: {
        const auto items = pop_items(2);
        append(top_of_kind(Kind::kDict).items, items);
        return true;
      }
      case Opcode::kSetItems: {
        const auto items = even(pop_to_mark());
        append(top_of_kind(Kind::kDict).items, items);
        return true;
      }
      case Opcode::kPop:
        pop();
        return true;
      case Opcode::kPopMark:
        pop_to_mark();
        return true;
      case Opcode::kDup:
        stack_.push_back(&top());
        return true;
      default:
        return false;
    }
  }

  bool read_memo(Opcode opcode) {
    switch (opcode) {
      case Opcode::kBinPut:
        memo_[take_integer(1)] = &top();
        return true;
      case Opcode::kLongBinPut:
        memo_[take_integer(4)] = &top();
        return true;
      case Opcode::kPut:
        memo_[parse<std::uint64_t>(take_line())] = &top();
        return true;
      case Opcode::kMemoize:
        memo_[memo_.size()] = &top();
        return true;
      case Opcode::kBinGet:
        recall(take_integer(1));
        return true;
      case Opcode::kLongBinGet:
        recall(take_integer(4));
        return true;
      case Opcode::kGet:
        recall(parse<std::uint64_t>(take_line()));
        return true;
      case Opcode::kProto:
        if (take_integer(1) > 5) fail("its pickle protocol is newer than 5");
        return true;
      case Opcode::kFrame:
        take_integer(8);  // a hint for buffering
        return true;
      default:
        return false;
    }
  }

  bool read_object(Opcode opcode) {
    switch (opcode) {
      case Opcode::kGlobal: {
        const auto module = take_line();
        push_global(module, take_line());
        return true;
      }
      case Opcode::kStackGlobal: {
        const auto names = pop_items(2);
        if (names[0]->kind != Kind::kText || names[1]->kind != Kind::kText) fail_damaged();
        push_global(names[0]->text, names[1]->text);
        return true;
      }
      case Opcode::kBinPersistentId: {
        const auto* id = pop();
        if (id->kind != Kind::kTuple) fail_damaged();
        push_items(Kind::kStorage, id->items);
        return true;
      }
      case Opcode::kReduce: {
        const auto call = pop_items(2);
        reduce(*call[0], *call[1]);
        return true;
      }
      case Opcode::kNewObject: {
        const auto call = pop_items(2);
        create(*call[0]);
        return true;
      }
      case Opcode::kBuild:
        build(*pop());
        return true;
      default:
        return false;
    }
  }

  // Values.

  void push_int(std::int64_t value) { push(Kind::kInt).integer = value; }
  void push_text(std::string_view text) { push(Kind::kText).text = text; }
  void push_items(Kind kind, Items items) {
    count_items(items.size());
    push(kind).items = std::move(items);
  }

  /// Protocol 0 writes booleans as 01 and 00.
  void push_int_line(std::string_view line) {
    if (line == "00" || line == "01") {
      push(Kind::kBool).integer = line == "01" ? 1 : 0;
    } else {
      push_int(parse<std::int64_t>(line));
    }
  }

  void push_long(std::uint64_t length) {
    if (length > 8) fail("a number in its pickle has more than 64 bits");
    const auto bits = take_integer(length);
    const auto unused = static_cast<int>(64 - 8 * length);
    push_int(length == 0 ? 0 : static_cast<std::int64_t>(bits << unused) >> unused);
  }

  double take_big_endian_double() {
    std::uint64_t bits = 0;
    for (const char byte : take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
    return std::bit_cast<double>(bits);
  }

  Items even(Items items) const {
    if (items.size() % 2 != 0) fail_damaged();
    return items;
  }

  void recall(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail_damaged();
    stack_.push_back(found->second);
  }

  void push_global(std::string_view module, std::string_view name) {
    auto global = fmt::format("{}.{}", module, name);
    if (!is_known_global(global)) {
      fail(
          fmt::format("it asks for {}, which is refused because it could run code; only tensors "
                      "and plain containers are read",
                      global));
    }
    push(Kind::kGlobal).text = std::move(global);
  }

  /// What calling an allowed global gives, computed here.
  void reduce(const PickleNode& callable, const PickleNode& arguments) {
    auto result = result_of_call(callable, arguments);
    if (!result) fail_damaged();
    push_items(result->kind, std::move(result->items));
  }

  /// Objects made without a call.
  void create(const PickleNode& type) {
    const auto kind = kind_of_new_object(type);
    if (!kind)
      fail("the pickle uses the operation 0x81 to make an object, which plain data does not");
    auto* object = &push(*kind);
    if (*kind == Kind::kDict) parameter_dicts_.insert(object);
  }

  /// Attributes of the object on top: those of an OrderedDict (a state dict's _metadata) say
  /// nothing about its entries; those of a ParameterDict hold them.
  void build(const PickleNode& attributes) {
    if (top().kind == Kind::kOpaque) return;
    auto& target = top_of_kind(Kind::kDict);
    if (!parameter_dicts_.contains(&target) || attributes.kind != Kind::kDict) return;
    for (std::size_t i = 0; i + 1 < attributes.items.size(); i += 2) {
      if (attributes.items[i]->text != "_parameters") continue;
      if (attributes.items[i + 1]->kind != Kind::kDict) fail_damaged();
      append(target.items, attributes.items[i + 1]->items);
    }
  }

  std::string_view bytes_;
  std::string_view rest_;
  const std::string& origin_;
  Pickle pickle_;
  std::vector<PickleNode*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleNode*> memo_;
  std::unordered_set<const PickleNode*> parameter_dicts_;
  std::size_t items_ = 0;
};

}  // namespace

Pickle read_pickle(std::string_view bytes, const std::string& origin) {
  return PickleReader(bytes, origin).read();
}

}  // namespace mos::io
