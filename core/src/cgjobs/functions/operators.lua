-- What the operators' moves of jobs share: many in one call, and the same answer when the call is sent again.
-- ARGV of each: nonce, resent (0 or 1), the states that are meant, RQ's names between commas, or '' for any, then what
-- the move says. A call of several jobs ends early when it has looked through long lists for them: its answer then is
-- shorter, and who calls sends the rest again.
local PLACES = {scheduled = delayed_key, finished = completed_key, failed = failed_key, deferred = deferred_key,
                canceled = cancelled_key}
local SEARCHED_AT_MOST = 200000 -- entries of lists, for some 7 ms

-- Take a job out of the place that its state says, or out of all of them when its state says nothing.
local function unlist(queue, id, level, status, held)
  if held then unhold(queue, held, id) end
  local known = PLACES[status]
  if known then return safe('ZREM', known(queue), id) end
  drop(waiting_key(queue, level), id)
  if status ~= 'queued' then
    for _, place in pairs(PLACES) do safe('ZREM', place(queue), id) end
  end
end

-- Why a job in this state is not meant, or nil: it has moved since who calls looked at it.
local function moved_since(meant, state)
  return meant ~= '' and not string.find(meant, ',' .. state .. ',', 1, true) and '~' .. state or nil
end

-- Move jobs one after another, those whose ids begin at an argument. Gives what `move` answers for each.
local function move_each(args, from, move)
  local sec = now()
  local nonce = args[1]
  if not first_time(nonce, args[2], sec) then return kept_answer(nonce) or {} end
  several = #args > from
  return remembered(nonce, sec, function()
    local answers, events = {}, {}
    local done, reason = pcall(function()
      for i = from, #args do
        if searched > SEARCHED_AT_MOST then break end
        answers[#answers + 1] = move(args[i], events)
      end
    end)
    publish(events)
    if not done then reraise(reason) end
    keep_answer(nonce, answers)
    return answers
  end)
end
