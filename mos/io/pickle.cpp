#include "mos/io/pickle.h"

#include <fmt/format.h>

#include <unordered_set>
#include <utility>

#include "mos/base/text.h"
#include "mos/io/pickle_machine.h"
#include "mos/io/pickle_objects.h"
#include "mos/io/pickle_opcodes.h"

namespace mos::io {
namespace {

using Kind = PickleNode::Kind;

/// Reads opcode after opcode. Each group of them is a function that says whether it knew the
/// opcode.
class PickleReader : private PickleMachine {
 public:
  using PickleMachine::PickleMachine;

  Pickle read() {
    while (true) {
      // take() ends the reading at the end of the text: a pickle without a stop is damaged.
      const auto opcode = static_cast<Opcode>(take(1).front());
      if (opcode == Opcode::kStop) break;
      if (!read_value(opcode) && !read_container(opcode) && !read_memo(opcode) &&
          !read_object(opcode)) {
        fail(fmt::format("the pickle uses the operation 0x{:02x}, which plain data does not",
                         static_cast<unsigned>(opcode)));
      }
    }
    return finish();
  }

 private:
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
        // Python 2 wrote long numbers so.
        if (line.ends_with('L')) line.remove_suffix(1);
        push_long_line(line);
        return true;
      }
      case Opcode::kLong1:
        push_long(take_integer(1));
        return true;
      case Opcode::kLong4:
        push_long(take_integer(4));
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
        push_mark();
        return true;
      case Opcode::kEmptyDict:
        push(Kind::kDict);
        return true;
      case Opcode::kEmptyList:
      case Opcode::kEmptySet:
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
      case Opcode::kFrozenSet:
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
      case Opcode::kAppends:
      case Opcode::kAddItems: {
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
        push_again();
        return true;
      default:
        return false;
    }
  }

  bool read_memo(Opcode opcode) {
    switch (opcode) {
      case Opcode::kBinPut:
        remember(take_integer(1));
        return true;
      case Opcode::kLongBinPut:
        remember(take_integer(4));
        return true;
      case Opcode::kPut:
        remember(parse<std::uint64_t>(take_line()));
        return true;
      case Opcode::kMemoize:
        remember_next();
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

  // Objects.

  void push_global(std::string_view module, std::string_view name) {
    auto global = fmt::format("{}.{}", module, name);
    if (global == "torch._utils._rebuild_tensor_v3") {
      fail(
          "it holds tensors of a type that torch.save keeps as bare bytes, such as float8, which "
          "are not read; save them as float16 or as safetensors");
    }
    if (!is_known_global(global)) {
      fail(
          fmt::format("it asks for {}, which is refused because it could run code; only tensors "
                      "and plain containers are read",
                      printable(global)));
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

  std::unordered_set<const PickleNode*> parameter_dicts_;
};

}  // namespace

Pickle read_pickle(std::string_view bytes, const std::string& origin) {
  return PickleReader(bytes, origin).read();
}

}  // namespace mos::io
