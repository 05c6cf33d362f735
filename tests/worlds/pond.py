from worlds.actions import Field, action, method
from worlds.space import Entity, Space


class Pond(Space):
    width = height = 1_000  # points have 0 <= x <= 1000, 0 <= y <= 1000
    view = 200  # how far players see

    def on_open(self):  # once: what is there from the beginning
        for x in range(100, 1_000, 200):
            self.add(Entity("lily", x, 500))

    def on_enter(self, player, data):  # `data` is what the client sent with `enter`
        player.x, player.y = 500, 400
        player.data = {"name": str(data)[:20]}  # what other clients see of it
        player.jumps = 0  # whatever the game needs
        return {"lilies": 5}  # goes into the answer

    @action("hop", Field("dx", "number", low=-50, high=50), Field("dy", "number", low=-50, high=50))
    def hop(self, player, dx, dy):  # the client sent `input` with {"do": "hop", "dx": 20, "dy": 0}
        self.move(player, round(player.x + dx), round(player.y + dy))
        player.jumps += 1
        lily = self.nearest(player.x, player.y, 30, kind="lily")
        if lily is not None:
            self.tell_near(lily.x, lily.y, {"plop": player.id})
            self.remove(lily)
            self.after(5.0, self.add, Entity("lily", lily.x, lily.y))

    @method("jumps")
    def jumps(self, player):  # the client asked `call` with map "pond", method "jumps"
        return player.jumps
