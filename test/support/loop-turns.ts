/** How often the event loop comes round while work is under way: once or twice if the work holds it all the time. */
export async function loopTurns(work: Promise<unknown>): Promise<number> {
  let turns = 0
  let timer = setImmediate(function turn() {
    turns++
    timer = setImmediate(turn)
  })
  try {
    await work
    return turns
  } finally {
    clearImmediate(timer)
  }
}
