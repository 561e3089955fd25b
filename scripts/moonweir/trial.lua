--- Rules on trial (core/lua/trial.h): whom each is compared with, once all rules are declared.
local M = {}

local function same_list(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  return table.concat(a, "\0") == table.concat(b, "\0")
end

local function find(rules, name)
  for _, rule in ipairs(rules) do
    if rule.name == name then return rule end
  end
end

--- Replaces what a rule says by numbers: { against, share, by }. Errors begin with file:line.
---@param d table  what was declared
function M.resolve(d)
  for _, rule in ipairs(d.rules) do
    local trial = rule.trial
    if trial then
      local function wrong(why)
        error(("%s: rule '%s': %s"):format(rule.where, rule.name, why), 0)
      end
      if trial.against == true then
        trial.against = -1
      else
        local other = find(d.rules, trial.against)
        if not other or other.trial or other == rule then
          wrong(("there is no rule '%s' that decides"):format(tostring(trial.against)))
        end
        if rule.by and other.by and not same_list(rule.by, other.by) then
          wrong(
            ("it and '%s' have other keys ('by'), so they cannot be compared"):format(other.name)
          )
        end
        trial.against = other.number
      end
      if trial.share > 0 and type(rule.by) ~= "table" then
        wrong "a canary's key ('by') is made of fields"
      end
      trial.by = setmetatable({}, require "moonweir.encode".array_mark)
      for i, field in ipairs(type(rule.by) == "table" and rule.by or {}) do
        trial.by[i] = field
      end
    end
  end
end

return M
