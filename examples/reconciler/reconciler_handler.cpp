// The Expense Reconciler's handler: reads an item a line, answers with the calls that settle it.
//   reconciler-handler RULES.csv MAIL_DOMAIN
// It holds no credential and reaches nothing: what it answers is checked and executed by the database.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

// Lower-case words of two letters and more: store numbers, signs and initials say nothing about the category.
std::vector<std::string> words_of(std::string_view merchant) {
    std::vector<std::string> words(1);
    for (const char c : merchant) {
        const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        if (lower >= 'a' && lower <= 'z')
            words.back() += lower;
        else
            words.emplace_back();
    }
    std::erase_if(words, [](const std::string& word) { return word.size() < 2; });
    return words;
}

class Rules {
public:
    explicit Rules(const char* path) {
        std::ifstream file(path);
        if (!file)
            throw std::runtime_error(std::string("cannot read the rules file ") + path);
        for (std::string line; std::getline(file, line);) {
            const auto first = line.find(','), second = line.find(',', first + 1);
            if (line.starts_with('#') || first == line.npos || second == line.npos)
                continue;
            const auto match = line.substr(0, first);
            auto pattern = line.substr(first + 1, second - first - 1), category = line.substr(second + 1);
            if (match == "start")
                starts_.emplace(std::move(pattern), std::move(category));
            else if (match == "word")
                words_.emplace_back(std::move(pattern), std::move(category));
            else if (match == "default")
                default_ = std::move(category);
        }
        if (default_.empty())
            throw std::runtime_error(std::string("no default rule in ") + path);
    }

    // The longest start that matches at a word's end, else the first word rule whose word occurs, else the default.
    const std::string& category(std::string_view merchant) const {
        const auto words = words_of(merchant);
        std::string start;
        const std::string* found = nullptr;
        for (const auto& word : words) {
            start += (start.empty() ? "" : " ") + word;
            if (const auto rule = starts_.find(start); rule != starts_.end())
                found = &rule->second;
        }
        if (found)
            return *found;
        for (const auto& [word, category] : words_)
            if (std::find(words.begin(), words.end(), word) != words.end())
                return category;
        return default_;
    }

private:
    std::map<std::string, std::string, std::less<>> starts_;
    std::vector<std::pair<std::string, std::string>> words_;
    std::string default_;
};

json answer(const json& item, const Rules& rules, const std::string& mail_domain) {
    const auto& row = item.at("row");
    const auto id = item.at("id").get<std::string>();
    const auto merchant = row.at("merchant").get<std::string>(), card = row.at("card").get<std::string>();
    const auto date = row.at("trans_date").get<std::string>();
    const auto& category = rules.category(merchant);
    char amount[32];
    std::snprintf(amount, sizeof amount, "%.2f", row.at("amount").get<double>());
    const auto price = std::string(amount) + " " + row.at("currency").get<std::string>();

    json record = {{"transaction_id", id}, {"category", category}};
    for (const char* column : {"trans_date", "merchant", "card", "amount", "currency"})
        record[column] = row.at(column);
    const json write = {{"tool", "write"},
                        {"arguments", {{"table", "expenses"}, {"on_conflict", "nothing"}, {"record", record}}}};
    const json mail = {
        {"to", "card-" + card.substr(card.size() - std::min<std::size_t>(4, card.size())) + "@" + mail_domain},
        {"subject", "Expense confirmed: " + merchant + ", " + price},
        {"text", date + " " + merchant + " " + price + "\nCategory: " + category + "\n"}};
    const json queue = {{"tool", "queue"},
                        {"arguments",
                         {{"destination", "mail"},
                          {"event_type", "expense.confirmed"},
                          {"aggregate_id", id},
                          {"dedup_key", "expense.confirmed:" + id},
                          {"payload", mail}}}};
    return {{"item_id", id}, {"calls", json::array({write, queue})}};
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: reconciler-handler RULES.csv MAIL_DOMAIN\n";
        return 64;
    }
    try {
        const Rules rules(argv[1]);
        for (std::string line; std::getline(std::cin, line);) {
            const auto item = json::parse(line).at("item");
            json reply;
            try {
                reply = answer(item, rules, argv[2]);
            } catch (const json::exception& e) { // one bad row is that row's error, not the batch's
                reply = {{"item_id", item.at("id")}, {"error", e.what()}};
            }
            std::cout << reply.dump() << std::endl;
        }
    } catch (const std::exception& e) {
        std::cerr << "reconciler-handler: " << e.what() << '\n';
        return 70;
    }
}
