--- A busted output handler: failures in full, and one line of counts for spec/run.sh.
return function(options)
  local handler = require "busted.outputHandlers.base"()
  local busted = require "busted"
  local shown = 0

  local function show(kind, element, message, trace)
    shown = shown + 1
    local name = element and handler.getFullName(element) or "?"
    local where = element
        and element.trace
        and (element.trace.short_src .. ":" .. tostring(element.trace.currentline))
      or ""
    print(("%s %s (%s)\n    %s"):format(kind, name, where, tostring(message):gsub("\n", "\n    ")))
    if trace and trace.traceback and options.verbose then print(trace.traceback) end
  end

  busted.subscribe(
    { "failure" },
    function(element, _, message, trace) show("FAILED", element, message, trace) end
  )
  busted.subscribe(
    { "error" },
    function(element, _, message, trace) show("ERROR", element, message, trace) end
  )
  busted.subscribe({ "suite", "end" }, function()
    for _, p in ipairs(handler.pendings or {}) do
      print("skipped: " .. tostring(p.name) .. ": " .. tostring(p.message or ""))
    end
    print(
      ("counts: %d %d"):format(handler.successesCount, handler.failuresCount + handler.errorsCount)
    )
    return nil, true
  end)
  return handler
end
