#include "mos/io/zip_archive.h"

#include <gmock/gmock.h>

#include "mos/io/zip_writer.h"
#include "tests/io/bytes.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"

namespace mos::io {
namespace {

using test::little_endian;
using test::zip_bytes;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

using Entries = std::vector<std::pair<std::string, std::string>>;

std::string written(const Entries& entries) {
  const TempDir folder;
  AtomicFile file(folder / "a.zip", {.existing = Existing::kRefuse});
  ZipWriter writer(file);
  for (const auto& [name, bytes] : entries) writer.add(name, bytes);
  writer.finish();
  file.commit();
  return read_text_file(folder / "a.zip");
}

std::map<std::string, std::string> read(const std::string& archive) {
  std::map<std::string, std::string> texts;
  for (const auto& [name, entry] : stored_zip_entries(archive, "a.pth")) texts[name] = entry.bytes;
  return texts;
}

std::string zip_refusal(const std::string& bytes) {
  return mos::test::message_of(ErrorKind::kFormat, [&] { stored_zip_entries(bytes, "a.pth"); });
}

/// With the `bytes` lowest bytes of `value` at `place`.
std::string changed(std::string archive, std::size_t place, std::uint64_t value, int bytes) {
  return archive.replace(place, static_cast<std::size_t>(bytes), little_endian(value, bytes));
}

TEST(ZipWriters, EntriesComeBackAndBeginAtWholeCacheLines) {
  const Entries entries = {{"a/data.pkl", "\x80\2K\1."},
                           {"a/empty", ""},
                           {"a/data/0", std::string(1000, '\xff')},
                           {"a/caf\xc3\xa9", "é"}};
  const auto archive = written(entries);
  const auto read = stored_zip_entries(archive, "a.pth");
  ASSERT_EQ(read.size(), entries.size());
  for (const auto& [name, bytes] : entries) {
    EXPECT_EQ(read.at(name).bytes, bytes) << name;
    EXPECT_EQ((read.at(name).bytes.data() - archive.data()) % 64, 0) << name;
  }
  EXPECT_EQ(written(entries), archive) << "without times the same bytes";
}

TEST(ZipWriters, ChecksumsAreThoseOfTheStandard) {
  // CRC-32/ISO-HDLC: the check value of its catalogue, and that of nothing.
  constexpr std::size_t kCrcPlace = 14;  // APPNOTE 4.3.7
  EXPECT_EQ(written({{"x", "123456789"}}).substr(kCrcPlace, 4), little_endian(0xcbf43926, 4));
  EXPECT_EQ(written({{"x", ""}}).substr(kCrcPlace, 4), little_endian(0, 4));
}

TEST(ZipArchives, ABitThatChangedIsSeenInItsPartAlone) {
  // More than one part of what threads share, and an end that is none.
  const std::string big((std::size_t{5} << 20) + 3, 'x');
  auto archive = written({{"a/big", big}, {"a/small", "y"}});
  const auto fault = [&](const std::string& name) {
    return test::error_of(ErrorKind::kFormat, [&] {
      check_crc(name, stored_zip_entries(archive, "a.pth").at(name), "a.pth");
    });
  };
  EXPECT_EQ(fault("a/big") + fault("a/small"), "");
  archive[archive.find("xxxx") + big.size() - 1] ^= 1;
  EXPECT_EQ(fault("a/big"),
            "cannot read a.pth: the zip archive is damaged: the checksum of its part a/big is not "
            "that of its bytes; fetch it again");
  EXPECT_EQ(fault("a/small"), "");
}

TEST(ZipArchives, WithoutChecksumsAreTakenAsTheyAre) {
  const auto archive = zip_bytes({{"a", "one"}});  // as torch.save writes them if told to
  check_crc("a", stored_zip_entries(archive, "a.pth").at("a"), "a.pth");
}

TEST(ZipArchives, OfOtherWritersNeedNoAlignmentAndMayHaveAComment) {
  auto archive = zip_bytes({{"a", "one"}, {"b", "two"}});
  EXPECT_THAT(read(archive), ElementsAre(Pair("a", "one"), Pair("b", "two")));
  const std::string comment = "PK and other words";
  archive = changed(archive, archive.size() - 2, comment.size(), 2) + comment;
  EXPECT_THAT(read(archive), ElementsAre(Pair("a", "one"), Pair("b", "two")));
  EXPECT_TRUE(read(zip_bytes({})).empty());
}

/// A directory whose only entry has size and place in a zip64 field behind another field, and ends
/// as archives beyond 4 GiB do.
std::string zip64(std::uint64_t size, std::uint64_t place) {
  const std::string local =
      "PK\3\4" + std::string(22, '\0') + little_endian(1, 2) + little_endian(0, 2) + "a" + "data";
  const auto field = little_endian(0x9999, 2) + little_endian(3, 2) + "abc" + little_endian(1, 2) +
                     little_endian(24, 2) + little_endian(size, 8) + little_endian(size, 8) +
                     little_endian(place, 8);
  const auto directory = "PK\1\2" + std::string(16, '\0') + std::string(8, '\xff') +
                         little_endian(1, 2) + little_endian(field.size(), 2) +
                         std::string(10, '\0') + std::string(4, '\xff') + "a" + field;
  const auto end = "PK\6\6" + std::string(28, '\0') + little_endian(1, 8) +
                   little_endian(directory.size(), 8) + little_endian(local.size(), 8);
  return local + directory + end + "PK\6\7" + std::string(4, '\0') +
         little_endian(local.size() + directory.size(), 8) + std::string(4, '\0') + "PK\5\6" +
         std::string(18, '\xff');
}

TEST(ZipArchives, BeyondFourGigabytesHaveTheirSizesInAFieldOfTheirOwn) {
  EXPECT_THAT(read(zip64(4, 0)), ElementsAre(Pair("a", "data")));
  EXPECT_THAT(zip_refusal(zip64(std::uint64_t{1} << 40, 0)), HasSubstr("incomplete"));
  EXPECT_THAT(zip_refusal(zip64(4, ~std::uint64_t{0})), HasSubstr("incomplete"));
}

TEST(ZipArchives, SayWhatIsWrongWithThem) {
  const auto whole = zip_bytes({{"a", "one"}, {"b", "two"}});
  const auto directory = whole.find("PK\1\2");
  EXPECT_THAT(zip_refusal(zip_bytes({{"a", "one"}, {"a", "two"}})), HasSubstr("it holds a twice"));
  EXPECT_THAT(zip_refusal(changed(whole, directory + 10, 8, 2)), HasSubstr("a is compressed"));
  EXPECT_THAT(zip_refusal(changed(whole, directory, 0, 4)), HasSubstr("damaged"));
  EXPECT_THAT(zip_refusal(changed(whole, 0, 0, 4)), HasSubstr("damaged"));  // the local header
  EXPECT_THAT(zip_refusal(changed(whole, directory + 24, 1 << 20, 4)), HasSubstr("incomplete"));
  EXPECT_THAT(zip_refusal(changed(whole, whole.size() - 6, whole.size(), 4)),
              HasSubstr("incomplete"));  // where the directory is said to be
  EXPECT_THAT(zip_refusal(changed(whole, whole.size() - 12, 3, 2)), HasSubstr("damaged"));
  EXPECT_THAT(zip_refusal(std::string(100, 'x')), HasSubstr("has no end"));
  EXPECT_THAT(zip_refusal(""), HasSubstr("has no end"));
}

TEST(ZipArchives, CutAnywhereAreRefused) {
  const auto whole = written({{"a", "one"}, {"b", "two"}});
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(zip_refusal(whole.substr(0, length)), HasSubstr("a.pth")) << length;
  }
}

}  // namespace
}  // namespace mos::io
