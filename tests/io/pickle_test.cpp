#include "mos/io/pickle.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/io/bytes.h"
#include "tests/support/errors.h"

// Each operation of a pickle alone, as Python's Lib/pickle.py defines it. Whole files of torch.save
// are in torch_file_test.cpp.

namespace mos::io {
namespace {

using test::little_endian;
using testing::HasSubstr;

using Kind = PickleNode::Kind;

PickleNode root_of(const std::string& operations) {
  return *read_pickle(operations + ".", "x.pth").root;
}

std::string pickle_refusal(const std::string& operations) {
  return mos::test::message_of(ErrorKind::kFormat, [&] { read_pickle(operations, "x.pth"); });
}

std::string short_text(const std::string& text) {
  return "\x8c" + little_endian(text.size(), 1) + text;
}

void expect_integer(const std::string& operations, std::int64_t value) {
  const auto node = root_of(operations);
  EXPECT_EQ(node.kind, Kind::kInt) << operations;
  EXPECT_EQ(node.integer, value) << operations;
}

void expect_text(const std::string& operations, const std::string& value) {
  const auto node = root_of(operations);
  EXPECT_EQ(node.kind, Kind::kText) << operations;
  EXPECT_EQ(node.text, value) << operations;
}

TEST(PickleNumbers, HaveTheirSignAndWidth) {
  expect_integer("K\xff", 255);             // one byte, without a sign
  expect_integer("M\xff\xff", 65535);       // two
  expect_integer("J\xff\xff\xff\xff", -1);  // four, with one
  expect_integer(std::string("J\0\0\0\x80", 5), std::numeric_limits<std::int32_t>::min());
  expect_integer(std::string("\x8a\0", 2), 0);  // a long of no bytes
  expect_integer("\x8a\x01\x80", -128);         // two's complement, as long as it says
  expect_integer(std::string("\x8a\x02\x80\0", 4), 128);
  expect_integer("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
                 std::numeric_limits<std::int64_t>::max());
  expect_integer("I-12\n", -12);
  expect_integer("L-9000000000L\n", -9'000'000'000);  // as Python 2 wrote it
  expect_integer("L7\n", 7);
}

TEST(PickleNumbers, OfFloatingPointComeBackToTheLastBit) {
  EXPECT_EQ(root_of("F-2.5e3\n").number, -2500.0);
  EXPECT_EQ(root_of(std::string("G\x3f\xb9\x99\x99\x99\x99\x99\x9a", 9)).number, 0.1);
  EXPECT_EQ(root_of(std::string("G\x7f\xf0\0\0\0\0\0\0", 9)).number,
            std::numeric_limits<double>::infinity());
}

TEST(PickleNumbers, BooleansAreNoNumbersInAnyProtocol) {
  for (const auto& [operations, value] :
       {std::pair<std::string, int>{"\x88", 1}, {"\x89", 0}, {"I01\n", 1}, {"I00\n", 0}}) {
    EXPECT_EQ(root_of(operations).kind, Kind::kBool);
    EXPECT_EQ(root_of(operations).integer, value);
  }
  EXPECT_EQ(root_of("N").kind, Kind::kNone);
}

TEST(PickleNumbers, ThatAreNoneOrTooLongAreRefused) {
  EXPECT_THAT(pickle_refusal("I1.5\n."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("I\n."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("I99999999999999999999\n."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("Fnumber\n."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("L12x\n."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("\x8a\x09short."), HasSubstr("incomplete"));
}

TEST(PickleNumbers, OfMoreThan64BitsArePassedOver) {
  EXPECT_EQ(root_of("\x8a\x09" + std::string(9, '\1')).kind, Kind::kOpaque);  // a trainer's seed
  EXPECT_EQ(root_of("\x8b" + little_endian(9, 4) + std::string(9, '\1')).kind, Kind::kOpaque);
  EXPECT_EQ(root_of("L99999999999999999999L\n").kind, Kind::kOpaque);
  expect_integer("\x8b" + little_endian(1, 4) + "\5", 5);
  EXPECT_THAT(pickle_refusal("\x8b" + little_endian(0xffffffff, 4) + "."), HasSubstr("incomplete"));
}

TEST(PickleTexts, HaveOneFormForEachLength) {
  expect_text("X" + little_endian(3, 4) + "a\nb", "a\nb");
  expect_text("\x8d" + little_endian(2, 8) + "ab", "ab");
  expect_text(short_text("caf\xc3\xa9"), "caf\xc3\xa9");
  expect_text("Vline\n", "line");
  expect_text(
      "U\x02"
      "ab",
      "ab");  // bytes of Python 2
  expect_text("T" + little_endian(2, 4) + "ab", "ab");
  expect_text(
      "C\x02"
      "ab",
      "ab");  // bytes of Python 3
  expect_text("B" + little_endian(2, 4) + "ab", "ab");
  expect_text(short_text(""), "");
  EXPECT_THAT(pickle_refusal("X" + little_endian(100, 4) + "short."), HasSubstr("incomplete"));
  EXPECT_THAT(pickle_refusal("\x8d" + std::string(8, '\xff') + "."), HasSubstr("incomplete"));
  EXPECT_THAT(pickle_refusal("Vno end"), HasSubstr("incomplete"));
}

/// The whole numbers in a container.
std::vector<std::int64_t> numbers_in(const PickleNode& node) {
  std::vector<std::int64_t> numbers;
  for (const auto* item : node.items) numbers.push_back(item->integer);
  return numbers;
}

void expect_numbers(const std::string& operations, Kind kind,
                    const std::vector<std::int64_t>& numbers) {
  const auto pickle = read_pickle(operations + ".", "x.pth");
  EXPECT_EQ(pickle.root->kind, kind) << operations;
  EXPECT_EQ(numbers_in(*pickle.root), numbers) << operations;
}

TEST(PickleContainers, AreFilledInEveryWayThatPythonHas) {
  expect_numbers(")", Kind::kTuple, {});
  expect_numbers("K\1\x85", Kind::kTuple, {1});
  expect_numbers("K\1K\2\x86", Kind::kTuple, {1, 2});
  expect_numbers("K\1K\2K\3\x87", Kind::kTuple, {1, 2, 3});
  expect_numbers("(K\1K\2K\3K\4t", Kind::kTuple, {1, 2, 3, 4});
  expect_numbers("]K\1aK\2a", Kind::kList, {1, 2});
  expect_numbers("](K\1K\2e", Kind::kList, {1, 2});
  expect_numbers("(K\1K\2l", Kind::kList, {1, 2});
  expect_numbers("}K\1K\2s", Kind::kDict, {1, 2});
  expect_numbers("}(K\1K\2K\3K\4u", Kind::kDict, {1, 2, 3, 4});
  expect_numbers("(K\1K\2d", Kind::kDict, {1, 2});
  expect_numbers("\x8f(K\1K\2\x90", Kind::kList, {1, 2});  // a set of protocol 4
  expect_numbers("(K\1K\2\x91", Kind::kList, {1, 2});      // one that cannot be changed
  expect_numbers("c__builtin__\nfrozenset\n](K\1K\2e\x85R", Kind::kList, {1, 2});
}

TEST(PickleContainers, TakeNoMoreThanIsThere) {
  for (const char* operations :
       {"a.", "K\1a.", "K\1K\2s.", "\x85.", "K\1\x86.", "t.", "e.", "]e.", "}(K\1u.", "(K\1d.",
        "]K\1K\2s.", "}K\1a.", "0.", "1.", "2.", "\x90.", "}(K\1\x90.", "\x91."}) {
    EXPECT_THAT(pickle_refusal(operations), HasSubstr("damaged")) << operations;
  }
  // Below a mark lies what belongs to somebody else.
  EXPECT_THAT(pickle_refusal("K\1(\x85."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("K\1(."), HasSubstr("damaged"));
}

TEST(PickleStack, ValuesAreDroppedAndDoubled) {
  expect_integer(
      "K\1K\2"
      "0",
      1);
  expect_integer(
      "K\1(K\2K\3"
      "1",
      1);
  expect_numbers(
      "K\5"
      "2\x86",
      Kind::kTuple, {5, 5});
}

TEST(PickleMemo, GivesTheSameValueAndNotACopy) {
  for (const auto& [put, get] : {std::pair<std::string, std::string>{"q\7", "h\7"},
                                 {"r" + little_endian(7, 4), "j" + little_endian(7, 4)},
                                 {"p7\n", "g7\n"},
                                 {"\x94", std::string("h\0", 2)}}) {
    const auto pickle = read_pickle("]" + put + get + "\x86.", "x.pth");
    ASSERT_EQ(pickle.root->items.size(), 2U);
    EXPECT_EQ(pickle.root->items[0], pickle.root->items[1]);
  }
  EXPECT_THAT(pickle_refusal("h\1."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("q\1."), HasSubstr("damaged"));  // nothing to remember
}

TEST(PickleMemo, AListMayHoldItself) {
  const auto pickle = read_pickle("]q\1h\1a.", "x.pth");
  ASSERT_EQ(pickle.root->items.size(), 1U);
  EXPECT_EQ(pickle.root->items[0], pickle.root);
}

TEST(PickleObjects, OnlyKnownNamesAreTaken) {
  const auto known = root_of("ccollections\nOrderedDict\n");
  EXPECT_EQ(known.kind, Kind::kGlobal);
  EXPECT_EQ(known.text, "collections.OrderedDict");
  EXPECT_EQ(root_of(short_text("collections") + short_text("OrderedDict") + "\x93").text,
            "collections.OrderedDict");
  EXPECT_EQ(root_of("ccollections\nOrderedDict\n)R").kind, Kind::kDict);

  for (const char* operations :
       {"cos\nsystem\n", "cbuiltins\neval\n", "ctorch\nload\n", "cposix\nsystem\nVrm\n\x85R"}) {
    EXPECT_THAT(pickle_refusal(operations + std::string(".")), HasSubstr("could run code"));
  }
  EXPECT_THAT(pickle_refusal(short_text("os") + short_text("system") + "\x93."),
              HasSubstr("os.system"));
  EXPECT_THAT(pickle_refusal(short_text("os") + "K\1\x93."), HasSubstr("damaged"));
  EXPECT_THAT(pickle_refusal("K\1)R."), HasSubstr("damaged"));  // a number is called
}

TEST(PickleObjects, TypesAndDevicesOfTorchArePassedOver) {
  for (const char* name :
       {"float16", "float32", "float64", "bfloat16", "int64", "bool", "uint8", "float8_e4m3fn"}) {
    EXPECT_EQ(root_of("ctorch\n" + std::string(name) + "\n").kind, Kind::kGlobal) << name;
  }
  EXPECT_EQ(root_of("ctorch\ndevice\n" + short_text("cuda") + "K\1\x86R").kind, Kind::kOpaque);
  const auto bytes = pickle_refusal("ctorch._utils\n_rebuild_tensor_v3\n.");
  EXPECT_THAT(bytes, HasSubstr("float8"));
  EXPECT_THAT(bytes, testing::Not(HasSubstr("could run code")));
}

TEST(PickleProtocols, UpToFiveAreReadAndFramesPassedOver) {
  for (char protocol = 2; protocol <= 5; ++protocol) {
    expect_integer(std::string("\x80") + protocol + "\x95" + little_endian(2, 8) + "K\1", 1);
  }
  EXPECT_THAT(pickle_refusal("\x80\x06K\1."), HasSubstr("newer than 5"));
}

TEST(PickleProtocols, OperationsOfOthersAreRefusedByTheirNumber) {
  for (const char* operations : {"i", "P", "o", "\x92", "\x97", "\xff"}) {
    EXPECT_THAT(pickle_refusal(std::string("(") + operations), HasSubstr("the operation 0x"));
  }
}

TEST(ReadPickle, SaysHowFarItWentAndNeedsItsEnd) {
  EXPECT_EQ(read_pickle("K\1.K\2.", "x.pth").bytes, 3U);
  const std::string whole =
      "\x80\2}q\1(X" + little_endian(1, 4) + "a(K\1K\2tX" + little_endian(1, 4) + "b]K\3au.";
  EXPECT_EQ(read_pickle(whole, "x.pth").bytes, whole.size());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(pickle_refusal(whole.substr(0, length)), HasSubstr("x.pth")) << length;
  }
}

}  // namespace
}  // namespace mos::io
