#include "mos/io/torch_file.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <array>
#include <cstring>
#include <string_view>

#include "mos/base/file.h"
#include "mos/io/finite.h"
#include "mos/io/torch_writer.h"
#include "tests/io/bytes.h"
#include "tests/support/temp_dir.h"

namespace {

using mos::ErrorKind;
using mos::io::TorchValue;
using mos::io::test::error_of;
using mos::io::test::little_endian;
using mos::io::test::zip_bytes;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kProto("\x80\x02", 2);

// The pieces of a pickle.
std::string text(const std::string& value) {
  return fmt::format("X{}{}", little_endian(value.size(), 4), value);
}
std::string number(std::int64_t value) {
  return fmt::format("J{}", little_endian(static_cast<std::uint64_t>(value), 4));
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string tuple(const std::string& items) { return "(" + items + "t"; }

std::string storage(const std::string& type, const std::string& key, std::int64_t count) {
  return tuple(text("storage") + global("torch", type) + text(key) + text("cpu") + number(count)) +
         "Q";
}

std::string tensor(const std::string& from, std::int64_t offset, const std::string& sizes,
                   const std::string& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple(from + number(offset) + tuple(sizes) + tuple(strides) + "\x89" +
               global("collections", "OrderedDict") + ")R") +
         "R";
}

/// Six floats 0…5.
std::string floats() {
  const std::array<float, 6> values = {0, 1, 2, 3, 4, 5};
  std::string bytes(sizeof(values), '\0');
  std::memcpy(bytes.data(), values.data(), sizeof(values));
  return bytes;
}

TorchValue read_bytes(const std::string& bytes) {
  const mos::TempDir folder;
  mos::io::test::write_bytes(folder / "file.pth", bytes);
  return mos::io::read_torch_file(folder / "file.pth");
}

TorchValue read_pickle(const std::string& pickle) {
  return read_bytes(zip_bytes({{"file/data.pkl", kProto + pickle + "."},
                               {"file/data/0", floats()},
                               {"file/version", "3\n"}}));
}

std::string message_for_archive(const std::string& bytes) {
  const auto message = error_of(ErrorKind::kFormat, [&] { read_bytes(bytes); });
  EXPECT_EQ(message.find('\n'), std::string::npos) << "more than one line";
  EXPECT_THAT(message, HasSubstr("file.pth"));
  return message;
}

std::string message_for_pickle(const std::string& pickle) {
  return error_of(ErrorKind::kFormat, [&] { read_pickle(pickle); });
}

TEST(TorchFile, ReadsNestedDictionariesOfTensors) {
  const auto file = read_pickle(
      std::string("}").append(text("params")) + "}" + "(" + text("<a>") +
      tensor(storage("FloatStorage", "0", 6), 0, number(2) + number(3), number(3) + number(1)) +
      text("unet") + "}" + text("w") +
      tensor(storage("FloatStorage", "0", 6), 1, number(2), number(2)) + "s" + "u" + "s");
  const auto dict = mos::io::flatten_tensors(file);
  ASSERT_EQ(dict.size(), 2U);
  EXPECT_TRUE(dict.at("params/<a>").equal(torch::arange(6.0F).view({2, 3})));
  EXPECT_TRUE(dict.at("params/unet/w").equal(torch::tensor({1.0F, 3.0F})));
  EXPECT_EQ(dict.at("params/unet/w").storage().data(), dict.at("params/<a>").storage().data());
}

TEST(TorchFile, ReadsPlainValuesAndStateDictsWithMetadata) {
  const auto file =
      read_pickle(global("collections", "OrderedDict") + ")R" + "(" + text("none") + "N" +
                  text("yes") + "\x88" + text("number") + number(-7) + text("half") +
                  std::string("G\x3f\xe0\0\0\0\0\0\0", 9) + text("list") + "](K\1K\2e" + number(3) +
                  text("x") + "u" + "}" + text("_metadata") + "}sb");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(file.find("none")->value));
  EXPECT_TRUE(std::get<bool>(file.find("yes")->value));
  EXPECT_EQ(std::get<std::int64_t>(file.find("number")->value), -7);
  EXPECT_EQ(std::get<double>(file.find("half")->value), 0.5);
  EXPECT_EQ(std::get<TorchValue::List>(file.find("list")->value).size(), 2U);
  EXPECT_EQ(std::get<std::string>(file.find("3")->value), "x");
  EXPECT_EQ(file.find("absent"), nullptr);
}

TEST(TorchFile, ReadsAParameterDictAsADictionary) {
  const auto floats_tensor =
      tensor(storage("FloatStorage", "0", 6), 0, number(2) + number(3), number(3) + number(1));
  const auto parameters =
      global("collections", "OrderedDict") + ")R" + text("*") + floats_tensor + "s";
  const auto file = read_pickle(std::string("}").append(text("string_to_param")) +
                                global("torch.nn.modules.container", "ParameterDict") + ")\x81}(" +
                                text("training") + "\x88" + text("_parameters") + parameters +
                                text("_non_persistent_buffers_set") + global("__builtin__", "set") +
                                "]\x85R" + "ubs");
  const auto dict = mos::io::flatten_tensors(file);
  ASSERT_EQ(dict.size(), 1U);
  EXPECT_TRUE(dict.at("string_to_param/*").equal(torch::arange(6.0F).view({2, 3})));
}

TEST(TorchFile, ReadsParametersAsTheirTensors) {
  const auto file =
      read_pickle(global("torch._utils", "_rebuild_parameter") +
                  tuple(tensor(storage("FloatStorage", "0", 6), 0, number(6), number(1)) + "\x88" +
                        global("collections", "OrderedDict") + ")R") +
                  "R");
  EXPECT_TRUE(std::get<torch::Tensor>(file.value).equal(torch::arange(6.0F)));
}

std::string legacy_bytes(const std::string& value, std::int64_t elements) {
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  return magic + kProto + "M\xe9\x03." + kProto + "}" + text("little_endian") + "\x88s." + kProto +
         value + "." + kProto + "](" + text("42") + "e." +
         little_endian(static_cast<std::uint64_t>(elements), 8) + floats();
}

TEST(TorchFile, ReadsTheOlderLayoutWithoutZip) {
  const auto id = tuple(text("storage") + global("torch", "FloatStorage") + text("42") +
                        text("cpu") + number(6) + "N") +
                  "Q";
  const auto value = std::string("}").append(text("w")) + tensor(id, 2, number(4), number(1)) + "s";
  const auto dict = mos::io::flatten_tensors(read_bytes(legacy_bytes(value, 6)));
  EXPECT_TRUE(dict.at("w").equal(torch::tensor({2.0F, 3.0F, 4.0F, 5.0F})));
  EXPECT_THAT(message_for_archive(legacy_bytes(value, 7)), HasSubstr("storage \"42\""));
  EXPECT_THAT(message_for_archive(legacy_bytes(value, -1)), HasSubstr("storage \"42\""));
}

TEST(TorchFile, PassesOverWhatATrainerLeavesBesideTheWeights) {
  // As in sd-v1-4.ckpt: the state of a callback under its class, with a score of NumPy in it.
  const auto bytes = global("_codecs", "encode") + tuple(text("xx") + text("latin1")) + "R";
  const auto dtype = global("numpy", "dtype") + tuple(text("f8") + number(0) + number(1)) + "R" +
                     tuple(number(3) + text("<")) + "b";
  const auto score = global("numpy.core.multiarray", "scalar") + tuple(dtype + bytes) + "R";
  const auto callback = global("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint");
  const auto weights = tensor(storage("FloatStorage", "0", 6), 0, number(6), number(1));
  const auto file = read_pickle("}(" + text("global_step") + number(470000) + text("callbacks") +
                                "}" + callback + "}" + text("best_model_score") + score + "ss" +
                                text("state_dict") + "}" + text("w") + weights + "s" + "u");
  EXPECT_EQ(std::get<std::int64_t>(file.find("global_step")->value), 470000);
  EXPECT_TRUE(std::get<torch::Tensor>(file.find("state_dict")->find("w")->value)
                  .equal(torch::arange(6.0F)));
  const auto* state =
      file.find("callbacks")->find("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint");
  ASSERT_NE(state, nullptr);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(state->find("best_model_score")->value));
}

TEST(TorchFile, PassesOverEntriesThatNobodyCanName) {
  const auto weights = tensor(storage("FloatStorage", "0", 6), 0, number(6), number(1));
  const auto pair = tuple(text("a") + number(1));
  const auto file =
      read_pickle("}(N" + number(1) + pair + text("x") + "\x88N" +
                  std::string("G\x3f\xe0\0\0\0\0\0\0", 9) + "]" + text("seed") + "\x8a\x09" +
                  std::string(9, '\1') + text("seen") + "\x8f(K\1\x90" + text("w") + weights + "u");
  EXPECT_EQ(std::get<TorchValue::Dict>(file.value).size(), 3U);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(file.find("seed")->value));
  EXPECT_EQ(std::get<TorchValue::List>(file.find("seen")->value).size(), 1U);
  EXPECT_TRUE(std::get<torch::Tensor>(file.find("w")->value).equal(torch::arange(6.0F)));
  // But nothing that a model could be made of.
  EXPECT_THAT(message_for_pickle("}" + pair + weights + "s"), HasSubstr("tensor under a key"));
  EXPECT_THAT(message_for_pickle("}N](" + weights + "es"), HasSubstr("tensor under a key"));
}

TEST(TorchFile, RefusesAndNamesEveryOtherFunction) {
  const auto call = [](const std::string& module, const std::string& name) {
    return global(module, name) + tuple(text("touch /tmp/mos-was-here")) + "R";
  };
  EXPECT_THAT(message_for_pickle(call("posix", "system")), HasSubstr("posix.system"));
  EXPECT_THAT(message_for_pickle(call("builtins", "eval")), HasSubstr("builtins.eval"));
  EXPECT_THAT(message_for_pickle(text("os") + text("system") + "\x93" + ")R"),
              HasSubstr("os.system"));
  EXPECT_THAT(message_for_pickle(call("torch.nn.modules.linear", "Linear")),
              HasSubstr("torch.nn.modules.linear.Linear"));
  EXPECT_FALSE(std::filesystem::exists("/tmp/mos-was-here"));
}

TEST(TorchFile, RefusesOperationsThatMakeObjects) {
  EXPECT_THAT(message_for_pickle(global("collections", "OrderedDict") + ")\x81"),
              HasSubstr("operation 0x81"));
  EXPECT_THAT(message_for_pickle(text("a") + "}b"), HasSubstr("damaged"));
}

TEST(TorchFile, RefusesTensorsThatReachBeyondTheirStorage) {
  const auto view = [](std::int64_t offset, const std::string& sizes, const std::string& strides) {
    return message_for_pickle(tensor(storage("FloatStorage", "0", 6), offset, sizes, strides));
  };
  EXPECT_THAT(view(1, number(6), number(1)), HasSubstr("beyond its storage of 6"));
  EXPECT_THAT(view(0, number(2) + number(2), number(5) + number(1)), HasSubstr("beyond"));
  EXPECT_THAT(view(0, number(1 << 30), number(0)), HasSubstr(".contiguous()"));
  EXPECT_THAT(view(0, number(7) + number(1), number(0) + number(1)), HasSubstr("stride 0"));
  EXPECT_THAT(view(6, number(1), number(0)), HasSubstr("beyond")) << "nothing is repeated";
  EXPECT_THAT(view(-1, number(1), number(1)), HasSubstr("impossible shape"));
  EXPECT_THAT(view(0, number(-1), number(1)), HasSubstr("impossible shape"));
  EXPECT_THAT(view(0, number(1), ""), HasSubstr("impossible shape"));
  EXPECT_THAT(view(6, "", ""), HasSubstr("beyond"));
}

TEST(TorchFile, RefusesStoragesThatAreNotThere) {
  const auto whole = [](const std::string& from) {
    return message_for_pickle(tensor(from, 0, number(1), number(1)));
  };
  EXPECT_THAT(whole(storage("FloatStorage", "0", 7)), HasSubstr("storage \"0\""));
  EXPECT_THAT(whole(storage("FloatStorage", "9", 1)), HasSubstr("storage \"9\""));
  EXPECT_THAT(whole(storage("Size", "0", 1)), HasSubstr("not a type of storage"));
  EXPECT_THAT(whole(tuple(text("storage")) + "Q"), HasSubstr("names a storage"));
}

TEST(TorchFile, RefusesValuesThatContainThemselvesOrGrowWithoutEnd) {
  EXPECT_THAT(message_for_pickle("]q\1h\1a"), HasSubstr("nested too deeply"));
  std::string bomb = "]q" + std::string(1, '\0');
  for (char i = 1; i < 40; ++i) {  // each list holds the one before it twice
    bomb += "](";
    for (int twice = 0; twice < 2; ++twice) bomb += std::string("h") + static_cast<char>(i - 1);
    bomb += std::string("eq") + i;
  }
  EXPECT_THAT(message_for_pickle(bomb), HasSubstr("too many values"));
}

TEST(TorchFile, BoundsWhatOneLongTextAddsUpTo) {
  const std::string again("h\0", 2);
  std::string values = text(std::string(1'000'000, 'x')) + std::string("q\0", 2) + "0](";
  for (int i = 0; i < 100; ++i) values += again;
  EXPECT_THAT(message_for_pickle(values + "e"), HasSubstr("texts are too long"));
  std::string keys = "}" + text(std::string(1'000'000, 'x')) + "](";
  for (int i = 0; i < 100; ++i) {
    keys += tensor(storage("FloatStorage", "0", 6), 0, number(6), number(1));
  }
  const auto value = read_pickle(keys + "es");
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { mos::io::flatten_tensors(value); }),
              HasSubstr("names of its tensors are too long"));
}

TEST(TorchFile, BoundsTheDimensionsOfATensor) {
  std::string many;
  for (int i = 0; i < 65; ++i) many += number(1);
  EXPECT_THAT(message_for_pickle(tensor(storage("FloatStorage", "0", 6), 0, many, many)),
              HasSubstr("impossible shape"));
}

TEST(TorchFile, TextsOfPython2BecomeUtf8) {
  const auto value = read_pickle("}" + std::string("U\4caf\xe9", 6) + "K\1s");
  EXPECT_NE(value.find("caf\\xe9"), nullptr);
}

TEST(TorchFile, RefusesDamagedPickles) {
  for (const std::string pickle :
       {"", "t", "h\5", "X\xff\xff\xff\x7fxx", "K", "0", "N0", "(", "}(Nu", "Iabc\n", "cno-newline",
        "NNs", "]Q", "\x8a\x09zzz", "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"}) {
    EXPECT_THAT(message_for_pickle(pickle), HasSubstr("pickle")) << testing::PrintToString(pickle);
  }
}

TEST(TorchFile, RefusesEveryCutOfAGoodFile) {
  const auto whole =
      zip_bytes({{"file/data.pkl",
                  kProto + tensor(storage("FloatStorage", "0", 6), 0, number(6), number(1)) + "."},
                 {"file/data/0", floats()}});
  EXPECT_EQ(std::get<torch::Tensor>(read_bytes(whole).value).numel(), 6);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(message_for_archive(whole.substr(0, length)), "") << length;
  }
}

/// A file of torch.save with the six floats as "w", and one bit of it changed: in what begins
/// `offset` bytes behind `marker`.
std::string flipped(std::string_view marker, std::size_t offset) {
  const mos::TempDir folder;
  mos::io::save_torch_file(folder / "a.pth",
                           {TorchValue::Dict{{"w", TorchValue{torch::arange(6.0F)}}}});
  auto bytes = mos::read_text_file(folder / "a.pth");
  bytes[bytes.find(marker) + offset] ^= 1;
  return bytes;
}

TEST(TorchFile, DamagedValuesAreRefusedWhereTheyAreUsed) {
  const auto file = read_bytes(flipped(floats(), 5));
  const auto weight = std::get<torch::Tensor>(file.find("w")->value);
  EXPECT_EQ(weight.numel(), 6) << "names and shapes are read from other bytes";
  const auto part = HasSubstr("damaged: the checksum of its part archive/data/0 is not");
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { mos::io::is_finite(weight.slice(0, 4)); }), part)
      << "of a view, too";
  auto target = torch::zeros({6});
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { mos::io::copy_finite(target, weight); }), part);
  EXPECT_TRUE(target.equal(torch::zeros({6})));
}

TEST(TorchFile, ADamagedPickleIsRefused) {
  const auto dtype = flipped("FloatStorage", 0);  // a name that would be an unknown one
  EXPECT_THAT(message_for_archive(dtype), HasSubstr("checksum of its part archive/data.pkl"));
}

TEST(TorchFile, RefusesOtherFilesAndOtherArchives) {
  EXPECT_THAT(message_for_archive(""), HasSubstr("empty"));
  EXPECT_THAT(message_for_archive("hello world, hello world"),
              HasSubstr("not a file of torch.save"));
  EXPECT_THAT(message_for_archive(zip_bytes({{"a.txt", "x"}})), HasSubstr("no data.pkl"));
  EXPECT_THAT(message_for_archive(zip_bytes({{"a/data.pkl", "N."}, {"a/byteorder", "big"}})),
              HasSubstr("big-endian"));
  EXPECT_THAT(message_for_archive(zip_bytes({{"a/data.pkl", "N."}, {"a/data.pkl", "N."}})),
              HasSubstr("twice"));
  auto compressed = zip_bytes({{"a/data.pkl", "N."}});
  compressed[compressed.find("PK\x01\x02") + 10] = 8;
  EXPECT_THAT(message_for_archive(compressed), HasSubstr("compressed"));
}

}  // namespace
