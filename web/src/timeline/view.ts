// The range that the timeline shows: that of the address, or a movement that the address does not have yet.
import { type Range, rangeKey } from "./range";

/** Milliseconds without a movement after which the address follows. */
const REST_MS = 250;

export class View {
  private timer = 0;
  private address = "";

  /** @param write Changes the address to a range. */
  constructor(
    public range: Range,
    private readonly write: (range: Range) => void,
  ) {}

  /**
   * Show the range of the address, unless a movement is newer.
   *
   * @param address `rangeKey` of the address.
   */
  follow(range: Range, address: string): void {
    if (address !== this.address) this.stop(); // by a button, a link, or back and forward
    this.address = address;
    if (this.timer === 0) this.range = range;
  }

  move(range: Range): void {
    this.stop();
    this.range = range;
    this.timer = window.setTimeout(this.settle, REST_MS);
  }

  /** Have the address follow a movement at once. */
  readonly settle = (): void => {
    if (this.timer === 0) return;
    this.stop();
    this.write(this.range);
    this.address = rangeKey(new URLSearchParams(location.search));
  };

  /** Forget that the address has to follow. */
  stop(): void {
    clearTimeout(this.timer);
    this.timer = 0;
  }
}
