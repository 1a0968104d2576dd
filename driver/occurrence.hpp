#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace sor {

// Numbers records with equal keys 1, 2, … in the order they come, so that two equal purchases of one day are two rows
// and the same file read again gives the same numbers.
class occurrence_counter {
public:
    // The key's parts, normalised by the caller; parts are told apart whatever they contain.
    std::uint32_t next(const std::vector<std::string>& key) {
        std::string joined;
        for (const auto& part : key) {
            joined += std::to_string(part.size());
            joined += ':';
            joined += part;
        }
        return ++seen_[std::move(joined)];
    }

private:
    std::unordered_map<std::string, std::uint32_t> seen_;
};

} // namespace sor
