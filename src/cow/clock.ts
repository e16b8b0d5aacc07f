/** The current time in nanoseconds since 1970. Strictly increasing within this process. */
export function now(): bigint {
  const time = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n
  return (latest = time > latest ? time : latest + 1n)
}

let latest = 0n
