/** Counts the turns of the event loop during work: one or two if the work never yields. */
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
